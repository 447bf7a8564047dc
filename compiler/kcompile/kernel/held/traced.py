"""What nftables and both iptables have in common: the kernel tells cheaply whether others have written, while
reading everything takes 0.1 to 1 s at 10,000 Services.

So all is read at once where a transaction on our rules was another program's, or the tables that they are in
have changed. Where that is only possible, it is read for at most 1/200 of the time: nf_tables counts the
transactions of every table, and legacy tables don't tell everything.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from ...program import Program

__all__ = ["Trace", "Traced"]

_SHARE = 200  # of the time


class Trace(Protocol):
    """Tells what we write from what others do: Transactions, Layouts.

    `selective`: tells only of tables that our rules are in. `complete`: tells of every change.
    """

    selective: bool
    complete: bool

    def own(self, count: int, /) -> AbstractContextManager[None]:
        """The body makes `count` transactions, or raises."""

    def touched(self) -> bool:
        """Whether others have written since the last call."""

    def others(self, numbers: Collection[int], /) -> bool:
        """Whether another program has made one of these transactions of nf_tables."""

    def close(self) -> None:
        """Let go of everything."""


class Traced:
    """A Held, but for `apply`, that reads its rules only where others have written."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._certain = False  # others have written to our rules, or to their tables
        self._possible = False  # others may have
        self._next_look = 0.0  # time.monotonic(), for what is possible only

    def touched(self) -> bool:
        news = self._trace.touched()
        self._certain |= news and self._trace.selective
        self._possible |= news
        return news

    def others(self, generations: Collection[int]) -> bool:
        others = self._trace.others(generations)
        self._certain |= others
        return others

    def differs(self, expected: Program) -> bool:
        self.touched()
        start = time.monotonic()
        possible = self._possible or not self._trace.complete
        if not self._certain and not (possible and start >= self._next_look):
            return False
        differs = self._read() != expected
        now = time.monotonic()
        self._next_look = now + _SHARE * (now - start)
        self._certain, self._possible = differs, False
        return differs

    def filling(self) -> dict[str, tuple[int, int]]:
        return {}

    def housekeep(self, _: Program, /) -> bool:
        return False

    def close(self) -> None:
        self._trace.close()

    def _read(self) -> Program:
        raise NotImplementedError
