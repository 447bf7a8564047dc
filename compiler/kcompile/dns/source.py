"""Reads manifests, checks and completes them as for the rules, and makes DNS records from them."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from ..engine.cluster import complete_input
from ..engine.read import read_cluster_input
from ..engine.request import Request
from ..spec.config import Config
from ..spec.reader import Unreadable, files
from .records import DEFAULT_TTL, Records, records

__all__ = ["Manifests"]


class Manifests(msgspec.Struct, kw_only=True):
    """`paths` to read, `config` of the cluster, `servers`: the name server's addresses.

    `state`: where ``kcompile apply`` keeps what it allocated (read only).
    """

    paths: tuple[str, ...]
    recursive: bool = False
    state: str
    config: Config = Config()
    ttl: int = DEFAULT_TTL
    servers: tuple[str, ...] = ()

    def signature(self) -> object:
        """Changes with any file that is read: its place, size, inode or time of change."""
        try:
            paths = [*files(self.paths, recursive=self.recursive), self.state]
        except Unreadable as error:  # a directory with nothing in it; `load` says so
            return error.message
        return tuple((path, _stat(path)) for path in paths)

    def load(self) -> Records:
        """The records now. Raises InputError; standard input can be read only once."""
        request = Request(files=self.paths, recursive=self.recursive, allow_empty=True)
        given = read_cluster_input(request, config=self.config)
        cluster = complete_input(given, request, Path(self.state))
        return records(
            cluster.inventory, cluster.settings.domain, self.ttl, self.servers, serial=int(time.time())
        )


def _stat(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
