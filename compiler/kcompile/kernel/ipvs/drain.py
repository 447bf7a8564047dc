"""Until when each draining real server may keep its connections: beside the node's lock, valid until the next
boot.
"""

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

# seconds; also what an idle established connection lives in IPVS (tcp_timeouts[] in ip_vs_proto_tcp.c)
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
        """True when the real server `key` has drained long enough."""
        until = self._until.get(_name(key))
        return until is not None and not 0 <= until - time.clock_gettime(time.CLOCK_BOOTTIME) <= LIMIT

    def note(self, draining: Collection[Key], changed: Iterable[Key]) -> None:
        """Of the real servers `changed`, exactly `draining` drain now; those that are new have LIMIT seconds."""
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
        with contextlib.suppress(
            KernelError
        ):  # the servers have left the rules already; without a deadline they drain to the end
            keep(self._path, until)
