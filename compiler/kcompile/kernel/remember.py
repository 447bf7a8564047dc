"""The last dataplane that was applied, so that `delete -f` can take Services out, commands can leave out
--mode, and an apply of the same needs no second compilation (docs/adr/0014).
"""

from __future__ import annotations

import contextlib
from hashlib import blake2b
from pathlib import Path

import msgspec

from ..errors import KernelError
from ..files import Staged, remove_file
from ..ir.model import Dataplane
from ..notices import Notice
from . import confirmed, itemized
from .kept import keep, kept, stage

__all__ = ["Applied", "forget", "given_before", "last_mode", "recall", "remember"]

_FILE, _MODE = "applied.msgpack", "mode.json"


class Applied(msgspec.Struct):
    """What an apply left on the node. The kernel, not this file, says what the rules are.

    `basis`: the digest of what `dataplane` was made of (engine/basis.py), empty where that isn't known;
    `given`: its half that needs no node. `warnings`: those of the compilation. `digest`: of all of that,
    empty in the file of an older version.
    """

    mode: str
    dataplane: Dataplane
    basis: bytes = b""
    given: bytes = b""
    warnings: tuple[Notice, ...] = ()
    digest: bytes = b""


class _Stored(msgspec.Struct):
    """`Applied` with a dataplane that isn't looked into yet."""

    mode: str
    dataplane: msgspec.Raw
    basis: bytes = b""
    given: bytes = b""
    warnings: tuple[Notice, ...] = ()
    digest: bytes = b""

    def sum(self) -> bytes:
        """What `digest` has to be."""
        head = msgspec.msgpack.encode((self.mode, self.basis, self.given, self.warnings), enc_hook=str)
        return blake2b(head + bytes(self.dataplane), digest_size=32).digest()


def remember(directory: Path, applied: Applied) -> Staged:
    """Write `applied` as what the node is about to be given, and fill in its digest; ``commit()`` once it has
    been.

    Raises KernelError where there is no room.
    """
    # str: the config reader marks checked strings by subclasses of it
    dataplane = msgspec.Raw(msgspec.msgpack.encode(applied.dataplane, enc_hook=str))
    stored = _Stored(applied.mode, dataplane, applied.basis, applied.given, applied.warnings)
    stored.digest = applied.digest = stored.sum()
    return stage(directory / _FILE, stored)


def recall(directory: Path) -> Applied | None:
    """What was applied last in this life of the namespace; None where that isn't known, or the file is
    damaged.
    """
    stored = kept(directory / _FILE, _Stored)
    if stored is None or (stored.digest and stored.digest != stored.sum()):
        return None
    try:
        dataplane = msgspec.msgpack.decode(stored.dataplane, type=Dataplane)
    except msgspec.DecodeError:
        return None
    return Applied(stored.mode, dataplane, stored.basis, stored.given, stored.warnings, stored.digest)


def given_before(directory: Path) -> bytes:
    """`Applied.given` of the last apply; empty where that isn't known."""
    stored = kept(directory / _FILE, _Stored)
    return stored.given if stored is not None else b""


def last_mode(directory: Path) -> str | None:
    """The mode of the node's rules, as the last apply or an agent has left word; None where neither has."""
    stored = kept(directory / _FILE, _Stored)
    return stored.mode if stored is not None else kept(directory / _MODE, str)


def forget(directory: Path, mode: str = "") -> None:
    """Remove the file; only the name of the `mode` stays, if one is given. A read-only file system keeps the
    file; no harm, for the kernel is asked anyway.
    """
    if mode:
        with contextlib.suppress(KernelError):  # commands then need --mode
            keep(directory / _MODE, mode)
    else:
        remove_file(directory / _MODE)
    remove_file(directory / _FILE)
    confirmed.forget(directory)
    itemized.forget(directory)
