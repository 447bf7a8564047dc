"""What the kernel said of its rules right after an apply: a number that it raises with every change, whoever
makes it.

The same number later means that nobody has touched them: they are what was applied, and need not be read.
Nothing else is evidence. Where a kernel interface has no such number, its rules are read (docs/adr/0014).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ..errors import KernelError
from ..files import remove_file
from .kept import keep, kept

__all__ = ["Confirmed", "confirm", "confirmed", "forget"]

_FILE = "confirmed.msgpack"


class Confirmed(msgspec.Struct, frozen=True):
    """The rules that the driver `mode` made of the remembered dataplane with the digest `applied` are those
    of the kernel's `generation`.

    `families`, `standing`: what else the rules were made of (Dataplane.standing).
    """

    mode: str
    applied: bytes
    generation: int
    families: tuple[int, ...]
    standing: tuple[int, ...]


def confirm(directory: Path, what: Confirmed) -> None:
    """Write it down; where there is no room, the next apply reads the kernel."""
    with contextlib.suppress(KernelError, OSError):
        keep(directory / _FILE, what)


def confirmed(directory: Path, applied: bytes) -> Confirmed | None:
    """What is known of the rules of the remembered dataplane with the digest `applied`."""
    found = kept(directory / _FILE, Confirmed)
    return found if found is not None and applied and found.applied == applied else None


def forget(directory: Path) -> None:
    """There are no rules any more."""
    remove_file(directory / _FILE)
