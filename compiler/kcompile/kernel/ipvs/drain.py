"""Deadlines of draining real servers, in a file beside the node's lock; they end with the boot."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from ...errors import KernelError
from ...files import remove_file
from ...targets.ipvs.resources import RealServerKey
from ..kept import keep, kept

__all__ = ["LIMIT", "Deadlines"]

# seconds; IPVS's timeout of an idle established connection too (tcp_timeouts[] in ip_vs_proto_tcp.c)
LIMIT = 900.0
_FILE = "draining.json"


class Deadlines:
    """The real servers that drain, and until when; `directory` None: only this process remembers them."""

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / _FILE
        self._kept: dict[str, float] = {}
        if self._path is not None:
            self._kept = kept(self._path, dict[str, float]) or {}
        self._until = {_key(name): until for name, until in self._kept.items()}

    @property
    def draining(self) -> Collection[RealServerKey]:
        """The real servers that drain."""
        return self._until.keys()

    def over(self, key: RealServerKey) -> bool:
        """True once the real server `key` has drained for LIMIT seconds."""
        until = self._until.get(key)
        return until is not None and not 0 <= until - time.clock_gettime(time.CLOCK_BOOTTIME) <= LIMIT

    def note(self, draining: Collection[RealServerKey], changed: Iterable[RealServerKey]) -> None:
        """Which of the real servers `changed` drain now; a new one gets LIMIT seconds from now."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        for key in changed:
            if key not in draining:
                self._until.pop(key, None)
        for key in draining:
            self._until.setdefault(key, now + LIMIT)

    def save(self) -> None:
        """Write down what has changed, for later commands."""
        until = {_name(key): time for key, time in self._until.items()}
        if until == self._kept or self._path is None:
            return
        self._kept = until
        if not until:
            remove_file(self._path)
            return
        # no room: the rules are changed already, and a server without a deadline just drains to the end
        with contextlib.suppress(KernelError):
            keep(self._path, until)


def _name(key: RealServerKey) -> str:
    return " ".join(map(str, key.parts[1:]))


def _key(name: str) -> RealServerKey:
    version, protocol, address, port, ip, real_port = name.split(" ")
    return RealServerKey(int(version), protocol, address, int(port), ip, int(real_port))
