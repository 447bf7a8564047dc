"""What an agent writes through, and the form of it that serves any driver."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ...notices import Notice
from ...program import Change, Program
from ..drivers import Driver

__all__ = ["Held", "Plain"]


class Held(Protocol):
    """What an agent writes through. Every call is made in the thread, and so the namespace, of `hold`."""

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        """Make `changes`, those of an Incremental; returns warnings.

        :raises KernelError: where the kernel refuses something; read it all again then
        """

    def touched(self) -> bool:
        """Whether another program has written to rules like ours since `hold` or the last look, as far as the
        kernel tells cheaply (nf_tables' generation). False where it doesn't: `differs` then has to look.
        """

    def others(self, generations: Collection[int]) -> bool:
        """Whether another program has made one of these transactions of nf_tables (kernel/watch.py)."""

    def differs(self, expected: Program) -> bool:
        """Whether the kernel holds something else of ours than `expected`, at a cost that an agent can pay
        every sync period.
        """

    def filling(self) -> dict[str, tuple[int, int]]:
        """How many entries each map of connections has, and how many it has room for (mode xdp)."""

    def housekeep(self, expected: Program, /) -> bool:
        """Take away what changes have left for open connections, where these are over.

        :return: whether something is still left; then call it again in a second or so
        """

    def close(self) -> None:
        """Let go of everything."""


class Plain:
    """Any driver, opened for each change."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        self._driver.keep(changes)
        return self._driver.apply(changes)

    def touched(self) -> bool:
        return False

    def others(self, generations: Collection[int]) -> bool:
        return bool(generations)

    def differs(self, expected: Program) -> bool:
        return bool(self._driver.target.diff(self._driver.observe(), expected))

    def filling(self) -> dict[str, tuple[int, int]]:
        return {}

    def housekeep(self, _: Program, /) -> bool:
        return False

    def close(self) -> None:
        """Nothing is held."""
