"""Manifests to records: read, checked and completed as for the rules, so that the names lead where the rules do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..spec.allocate import allocate
from ..spec.complete import complete
from ..spec.config import Config
from ..spec.load import load
from ..spec.reader import Unreadable, files
from ..spec.settings import settings
from ..spec.state import AllocationState
from ..spec.validate import validate
from .records import DEFAULT_DOMAIN, DEFAULT_TTL, Records, records

__all__ = ["Manifests"]


class Manifests(msgspec.Struct, kw_only=True):
    """`paths` to read, `state`: where ``kcompile apply`` keeps what it allocated (read only), `servers`: the name server's addresses."""

    paths: tuple[str, ...]
    state: str
    service_cidrs: Sequence[str] = ()
    domain: str = DEFAULT_DOMAIN
    ttl: int = DEFAULT_TTL
    servers: tuple[str, ...] = ()

    def signature(self) -> object:
        """Changes with any file that is read: its place, size, inode or time of change."""
        try:
            paths = [*files(self.paths), self.state]
        except Unreadable as error:  # a directory with nothing in it; `load` says so
            return error.message
        return tuple((path, _stat(path)) for path in paths)

    def load(self) -> Records:
        """The records now. Raises InputError; standard input can be read only once."""
        inventory = load(self.paths)
        validate(inventory)
        cidrs = settings(Config(service_cidrs=tuple(self.service_cidrs)), None, inventory.service_cidrs).service_cidrs
        allocate(inventory.services, AllocationState.load(self.state), service_cidrs=cidrs)
        complete(inventory)
        return records(inventory, self.domain, self.ttl, self.servers, serial=int(time.time()))


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
