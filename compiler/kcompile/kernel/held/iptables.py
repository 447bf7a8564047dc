"""Mode iptables held open. Its tools hold nothing open, so what is left to save is what they aren't run for.

A family without changes runs none. iptables-save runs only where the kernel says that others have written:
by its generation, in the nft variant. The legacy one has none; there the tables' sizes tell, and since they
don't tell everything, all is read now and then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...notices import Notice
from ...program import Change, Program
from .. import iptables
from ..drivers import IptablesDriver
from ..generation import Transactions
from ..layouts import Layouts
from .traced import Traced

__all__ = ["HeldIptables"]

_SHARE = 200  # all is read for at most 1/200 of the time


class HeldIptables(Traced):
    """One iptables-restore for each family that has changes, with the chains that have changed."""

    def __init__(self, driver: IptablesDriver) -> None:
        self._target, self._backend = driver.target, driver.backend
        self._legacy = driver.backend == "legacy"
        self._next_look = time.monotonic()
        super().__init__(Layouts() if self._legacy else Transactions())

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        scripts = self._target.scripts(changes)
        commits = sum(text.count("\nCOMMIT\n") for text in scripts.values())
        with self._trace.own(commits):
            iptables.apply(scripts, self._backend)
        return []

    def differs(self, expected: Program) -> bool:
        if self._legacy and time.monotonic() >= self._next_look:
            self._trace.suspect = True
        return super().differs(expected)

    def _read(self) -> Program:
        start = time.monotonic()
        program = iptables.observe(self._backend)
        now = time.monotonic()
        self._next_look = now + _SHARE * (now - start)
        return program
