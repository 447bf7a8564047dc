"""The objects of the input that was applied, as a digest each: tells which of them an edit has changed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from ..errors import KernelError
from ..files import remove_file
from .kept import keep_sealed, kept_sealed

__all__ = ["Itemized", "forget", "itemized", "keep_items"]

_FILE = "items.msgpack"


class Itemized(msgspec.Struct, frozen=True):
    """`frame`: the digest of all that is given but the objects; `digests`: theirs, one behind the other.

    `places`: what each object is, as ``KIND NAMESPACE/NAME``; `services`: for which Service, as
    ``NAMESPACE/NAME``, empty for none. `applied`: the digest of the remembered dataplane that was made of
    them.
    """

    frame: bytes
    digests: bytes
    places: list[str]
    services: list[str]
    applied: bytes = b""


def keep_items(directory: Path, items: Itemized) -> None:
    """Write it down; where there is no room, the next apply reads every object."""
    with contextlib.suppress(KernelError, OSError):
        keep_sealed(directory / _FILE, items)


def itemized(directory: Path) -> Itemized | None:
    """The objects of the last apply; None where they aren't known."""
    return kept_sealed(directory / _FILE, Itemized)


def forget(directory: Path) -> None:
    """Nothing is applied any more."""
    remove_file(directory / _FILE)
