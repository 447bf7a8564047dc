"""Files in a namespace's run directory, marked with the boot and the namespace's identity.

A file of another boot, or of an earlier namespace with the same inode number, is ignored. A file is
MessagePack if its name ends in ``.msgpack``, else JSON.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..errors import KernelError
from ..files import NO_ROOM, Staged, private_folder, read_private
from . import netns

__all__ = ["keep", "keep_sealed", "kept", "kept_sealed", "make_folder", "stage"]

T = TypeVar("T")


class _Kept(msgspec.Struct):
    boot: str
    netns: str
    value: msgspec.Raw


class _Sealed(msgspec.Struct):
    """`digest`: of the encoded `value`."""

    digest: bytes
    value: msgspec.Raw


def _coding(path: Path) -> Any:
    return msgspec.msgpack if path.suffix == ".msgpack" else msgspec.json


def stage(path: Path, value: Any) -> Staged:
    """Write `value` to a temporary file beside `path`; ``commit()`` of the result renames it.

    Makes the run directory. Raises KernelError where there is no room.
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
    """Write `value` to `path` atomically."""
    with stage(path, value) as staged:
        staged.commit()


def kept(path: Path, kind: type[T]) -> T | None:
    """The value that `keep` wrote to `path` in this boot and namespace.

    None where there is none, or this process may not read it. Raises UnsafeError where others can write it.
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


def keep_sealed(path: Path, value: Any) -> None:
    """`keep`, in MessagePack, for `kept_sealed`."""
    encoded = msgspec.msgpack.encode(value)
    keep(path, _Sealed(_digest(encoded), msgspec.Raw(encoded)))


def kept_sealed(path: Path, kind: type[T]) -> T | None:
    """What `keep_sealed` wrote; None also where a byte of it is another now, or it is another version's."""
    sealed = kept(path, _Sealed)
    if sealed is None or sealed.digest != _digest(sealed.value):
        return None
    try:
        return msgspec.msgpack.decode(sealed.value, type=kind)
    except msgspec.DecodeError:
        return None


def _digest(encoded: bytes | msgspec.Raw) -> bytes:
    return blake2b(encoded, digest_size=32).digest()
