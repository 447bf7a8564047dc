"""The last dataplane that was applied, so that `delete -f` can take Services out and commands can leave out
--mode.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..files import Staged, remove_file
from ..ir.model import Dataplane
from .kept import kept, stage

__all__ = ["Applied", "forget", "recall", "remember"]

_FILE = "applied.msgpack"


class Applied(msgspec.Struct):
    """What an apply left on the node. The kernel, not this file, says what the rules are."""

    mode: str
    dataplane: Dataplane


def remember(directory: Path, mode: str, dataplane: Dataplane) -> Staged:
    """Write `dataplane` as what `mode` is about to be given; ``commit()`` once it has been.

    Raises KernelError where there is no room.
    """
    return stage(directory / _FILE, Applied(mode, dataplane))


def recall(directory: Path) -> Applied | None:
    """What was applied last in this life of the namespace; None where that isn't known."""
    return kept(directory / _FILE, Applied)


def forget(directory: Path) -> None:
    """Whoever can't, on a read-only file system, leaves a file that says too much: the kernel is asked all
    the same.
    """
    remove_file(directory / _FILE)
