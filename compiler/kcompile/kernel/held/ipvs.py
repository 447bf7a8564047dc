"""Mode ipvs held open: netlink sockets, and the real servers that drain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ...notices import Notice
from ...program import Change, Key, Program
from ...targets.ipvs.resources import DRAINED, RealServerKey
from ...targets.ipvs.target import needed_by
from ..drivers import IpvsDriver
from ..ipvs import sources
from ..ipvs.compare import Comparison
from ..ipvs.read import real_servers
from ..netlink import Sockets

__all__ = ["HeldIpvs"]


class HeldIpvs:
    """Each apply sends the messages of its changes.

    A removed TCP real server with connections drains: it stays with weight 0, and what it needs with it,
    until `housekeep` finds that they are over, or its deadline has passed (kernel/ipvs/drain.py).
    """

    def __init__(self, driver: IpvsDriver) -> None:
        self._uses_nf_tables = driver.backend == "nft"
        self._kernel = driver.kernel
        self._sockets = self._kernel.sockets = Sockets()
        self._comparison = Comparison(driver.backend, self._sockets)
        self._routed = sources.routed()

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        self._kernel.apply(changes)
        if self._routed and any(c.new is None and c.key in self._routed for c in changes):
            sources.remove_routes()
            self._routed = sources.routed()
        return []

    def touched(self) -> bool:
        return False

    def others(self, generations: Collection[int]) -> bool:
        return self._uses_nf_tables and bool(generations)

    def differs(self, expected: Program) -> bool:
        return self._comparison.differs(expected, needed_by(self._kernel.deadlines.draining))

    def filling(self) -> dict[str, tuple[int, int]]:
        return {}

    def housekeep(self, expected: Program, /) -> bool:
        deadlines = self._kernel.deadlines
        if deadlines.draining:
            over = self._over(deadlines.draining)
            rest = needed_by(key for key in deadlines.draining if key not in over)
            left = [key for key in needed_by(over) if key not in rest and key not in expected]
            self._kernel.carry_out([_removal(key) for key in left])
            deadlines.note((), over)
            if any(key in self._routed for key in left):
                sources.remove_routes()
        deadlines.save()
        return bool(deadlines.draining)

    def _over(self, draining: Iterable[RealServerKey]) -> set[RealServerKey]:
        """Those of `draining` that nobody waits for any more."""
        held = real_servers(dict.fromkeys(key.virtual_server for key in draining), self._sockets)
        return {
            key
            for key in draining
            if key not in held or not held[key].connections or self._kernel.deadlines.over(key)
        }

    def close(self) -> None:
        self._sockets.close()
        self._kernel.sockets = None


def _removal(key: Key) -> Change:
    return Change(key, DRAINED if isinstance(key, RealServerKey) else "", None)
