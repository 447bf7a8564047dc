"""The dataplane of the last apply: `delete -f` removes Services from it, other commands learn the mode."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..files import Staged, remove_file
from ..ir.model import Dataplane
from .kept import kept, stage

__all__ = ["Applied", "forget", "recall", "remember"]

_FILE = "applied.msgpack"


class Applied(msgspec.Struct):
    """The last apply. For the rules on the node ask the kernel, not this file."""

    mode: str
    dataplane: Dataplane


def remember(directory: Path, mode: str, dataplane: Dataplane) -> Staged:
    """Write `dataplane` and `mode` to a file before an apply; call ``commit()`` of the result after it.

    Raises KernelError where there is no room.
    """
    return stage(directory / _FILE, Applied(mode, dataplane))


def recall(directory: Path) -> Applied | None:
    """The last apply to this namespace since it was made; None where there is none, or it can't be read."""
    return kept(directory / _FILE, Applied)


def forget(directory: Path) -> None:
    """Remove the file. It stays on a read-only file system; no harm, for the kernel is asked anyway."""
    remove_file(directory / _FILE)
