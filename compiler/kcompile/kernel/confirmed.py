"""What is known of the rules after an apply, so that the next one sees whether anybody has touched them.

Either the kernel's number for their state, which it raises with every change, whoever makes it; or, where a
kernel interface has no such number, a digest of the rules, to compare with those that are read
(docs/adr/0014).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ..errors import KernelError
from ..files import remove_file
from .kept import keep_sealed, kept_sealed

__all__ = ["Confirmed", "confirm", "confirmed", "forget"]

_FILE = "confirmed.msgpack"


class Confirmed(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that the driver `mode` made of the remembered dataplane with the digest `applied`.

    `code`: what lowered them (engine/basis.py). `generation`: the kernel's number for them; where that is
    None, `rules` is their digest. `families`, `standing`: what else they were made of (Dataplane.standing).
    `stands`: the IP versions in which they translate connections.
    """

    mode: str
    code: bytes
    applied: bytes
    families: tuple[int, ...]
    standing: tuple[int, ...]
    stands: tuple[int, ...]
    generation: int | None = None
    rules: bytes = b""


def confirm(directory: Path, what: Confirmed) -> None:
    """Write it down; where there is no room, the next apply reads the kernel."""
    with contextlib.suppress(KernelError, OSError):
        keep_sealed(directory / _FILE, what)


def confirmed(directory: Path, applied: bytes) -> Confirmed | None:
    """What is known of the rules of the remembered dataplane with the digest `applied`."""
    found = kept_sealed(directory / _FILE, Confirmed)
    return found if found is not None and applied and found.applied == applied else None


def forget(directory: Path) -> None:
    """There are no rules any more."""
    remove_file(directory / _FILE)
