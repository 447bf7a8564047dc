"""What one command leaves for the next in a namespace's run directory, marked with the boot and the life of
the namespace.

What another boot or an earlier namespace with the same inode number has left reads as nothing. Files are
MessagePack where the name ends in ``.msgpack``, else JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import KernelError
from ..files import NO_ROOM, Staged, private_folder, read_private
from . import netns

__all__ = ["keep", "kept", "make_folder", "stage"]

T = TypeVar("T")


class _Kept(msgspec.Struct):
    boot: str
    netns: str
    value: msgspec.Raw


def _coding(path: Path) -> Any:
    return msgspec.msgpack if path.suffix == ".msgpack" else msgspec.json


def stage(path: Path, value: Any) -> Staged:
    """Write `value` beside `path`, for ``commit()`` to put in place.

    The run directory is made where it is missing.

    Raises KernelError where there is no room for it.
    """
    coding = _coding(path)
    # str: the config reader marks checked strings by subclasses of it
    marked = _Kept(netns.boot(), netns.life(), msgspec.Raw(coding.encode(value, enc_hook=str)))
    make_folder(path.parent)
    return Staged(path, coding.encode(marked), private=True)


def make_folder(directory: Path) -> None:
    """Make a run directory, its base too.

    Raises UnsafeError where others can write to either, KernelError where it can't be made.
    """
    try:
        private_folder(directory.parent)
        private_folder(directory)
    except OSError as e:
        if e.errno in NO_ROOM:
            raise KernelError(f"{directory}: can't be made: {e.strerror}") from None
        raise


def keep(path: Path, value: Any) -> None:
    """Write `value` to `path`, whole or not at all."""
    with stage(path, value) as staged:
        staged.commit()


def kept(path: Path, kind: type[T]) -> T | None:
    """What `keep` wrote to `path` in this life of the namespace; None where there is nothing, or this process
    may not read it.

    Raises UnsafeError where somebody else can have written it.
    """
    coding = _coding(path)
    try:
        marked = coding.decode(read_private(path), type=_Kept)
        if (marked.boot, marked.netns) != (netns.boot(), netns.life()):
            return None
        value: T = coding.decode(marked.value, type=kind)
    except (FileNotFoundError, PermissionError, msgspec.DecodeError):
        return None
    return value
