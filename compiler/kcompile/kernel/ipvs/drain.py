"""Deadlines of draining real servers, in a file beside the node's lock; they end with the boot."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from ...errors import KernelError
from ...files import remove_file
from ...program import Key
from ..kept import keep, kept

__all__ = ["LIMIT", "Deadlines"]

# seconds; IPVS's timeout of an idle established connection too (tcp_timeouts[] in ip_vs_proto_tcp.c)
LIMIT = 900.0
_FILE = "draining.json"


def _name(key: Key) -> str:
    return " ".join(map(str, key.parts[1:]))


class Deadlines:
    """`directory` None: nothing is remembered, so nothing ever expires."""

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / _FILE
        self._until: dict[str, float] = {}
        if self._path is not None:
            self._until = kept(self._path, dict[str, float]) or {}

    def over(self, key: Key) -> bool:
        """True once the real server `key` has drained for LIMIT seconds."""
        until = self._until.get(_name(key))
        return until is not None and not 0 <= until - time.clock_gettime(time.CLOCK_BOOTTIME) <= LIMIT

    def note(self, draining: Collection[Key], changed: Iterable[Key]) -> None:
        """Write down which of the real servers `changed` drain now; a new one gets LIMIT seconds from now."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        until = dict(self._until)
        for key in changed:
            if key not in draining:
                until.pop(_name(key), None)
        for key in draining:
            until.setdefault(_name(key), now + LIMIT)
        if until == self._until or self._path is None:
            return
        self._until = until
        if not until:
            remove_file(self._path)
            return
        # no room: the rules are changed already, and a server without a deadline just drains to the end
        with contextlib.suppress(KernelError):
            keep(self._path, until)
