"""Mode iptables held open. Its tools hold nothing open, so what is left to save is what they aren't run for:
a family without changes runs none, and iptables-save runs only where others have written.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...notices import Notice
from ...program import Change, Program
from .. import iptables
from ..drivers import IptablesDriver
from ..generation import Transactions
from ..layouts import Layouts
from .traced import Traced

__all__ = ["HeldIptables"]


class HeldIptables(Traced):
    """One iptables-restore for each family that has changes, with the chains that have changed."""

    def __init__(self, driver: IptablesDriver) -> None:
        self._target, self._backend = driver.target, driver.backend
        super().__init__(Layouts() if driver.backend == "legacy" else Transactions())

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        scripts = self._target.scripts(changes)
        commits = sum(text.count("\nCOMMIT\n") for text in scripts.values())
        with self._trace.own(commits):
            iptables.apply(scripts, self._backend)
        return []

    def _read(self) -> Program:
        return iptables.observe(self._backend)
