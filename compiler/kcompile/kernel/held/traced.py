"""What nftables and both iptables have in common: the kernel tells cheaply whether others have written."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from ...program import Program

__all__ = ["Trace", "Traced"]


class Trace(Protocol):
    """Tells what we write from what others do: Transactions, Layouts.

    `suspect`: others have written since all was known to be right; who has looked sets it to False.
    """

    suspect: bool

    def own(self, count: int, /) -> AbstractContextManager[None]:
        """The body makes `count` transactions, or raises."""

    def touched(self) -> bool:
        """Whether others have written since the last call."""

    def others(self, numbers: Collection[int], /) -> bool:
        """Whether somebody else has made one of these transactions of nf_tables."""

    def close(self) -> None:
        """Let go of everything."""


class Traced:
    """A Held, but for `apply`, that reads its rules only where others have written."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def touched(self) -> bool:
        return self._trace.touched()

    def others(self, generations: Collection[int]) -> bool:
        return self._trace.others(generations)

    def differs(self, expected: Program) -> bool:
        self._trace.touched()
        if not self._trace.suspect:
            return False
        differs = self._read() != expected
        self._trace.suspect = differs
        return differs

    def close(self) -> None:
        self._trace.close()

    def _read(self) -> Program:
        raise NotImplementedError
