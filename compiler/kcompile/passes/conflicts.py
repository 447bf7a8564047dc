"""Two Services may claim the same external address, port and protocol; the API allows it, a node can serve
only one.

A ClusterIP wins over an external address, and the first Service by name over the others: kube-proxy leaves it
to the order of its rules, which is not the same after every restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from ..ir.model import Frontend, FrontendKind, ResolvedPort
from ..notices import Notice

__all__ = ["Claims", "without_conflicts"]

_Place = tuple[str, int, str, int]
_Rank = tuple[bool, str]
"""Of those who claim a place, the lowest has it: not by ClusterIP, then the port's name."""


class Claims:
    """Who claims each address, port and protocol; kept up to date as ports come and go."""

    def __init__(self) -> None:
        self._sole: dict[_Place, _Rank] = {}
        self._contested: dict[_Place, list[_Rank]] = {}  # sorted; of the same places, two ranks or more

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> set[str]:
        """Put the ports `new` in the place of `old`.

        :return: the names of ports that gain or lose a frontend by that, some of `old` and `new` among them
        """
        touched: set[str] = set()
        for port in old:
            for place, rank in _claims(port):
                self._drop(place, rank, touched)
        for port in new:
            for place, rank in _claims(port):
                self._add(place, rank, touched)
        return touched

    def settle(self, port: ResolvedPort) -> tuple[ResolvedPort, list[Notice]]:
        """`port`, which has been put in, with the frontends that are its own, and a warning for each of the
        others.
        """
        if not self._contested:
            return port, []
        mine: list[Frontend] = []
        notices: list[Notice] = []
        for frontend, (place, rank) in zip(port.frontends, _claims(port), strict=True):
            ranks = self._contested.get(place)
            if ranks is None or ranks[0] == rank:
                mine.append(frontend)
            else:
                notices.append(_taken(port, frontend, ranks[0][1]))
        return (port if not notices else msgspec.structs.replace(port, frontends=tuple(mine))), notices

    def _add(self, place: _Place, rank: _Rank, touched: set[str]) -> None:
        if place not in self._sole:
            self._sole[place] = rank
            return
        ranks = self._contested.setdefault(place, [self._sole[place]])
        ranks.append(rank)
        ranks.sort()
        touched.update(name for _, name in ranks)

    def _drop(self, place: _Place, rank: _Rank, touched: set[str]) -> None:
        ranks = self._contested.get(place)
        if ranks is None:
            del self._sole[place]
            return
        touched.update(name for _, name in ranks)
        ranks.remove(rank)
        self._sole[place] = ranks[0]
        if len(ranks) == 1:
            del self._contested[place]


def _claims(port: ResolvedPort) -> Iterator[tuple[_Place, _Rank]]:
    """One for each frontend of `port`, in their order."""
    protocol, family = port.protocol.value, port.family.value
    for f in port.frontends:
        yield (f.address, f.port, protocol, family), (f.kind is not FrontendKind.CLUSTER_IP, port.name)


def _taken(port: ResolvedPort, frontend: Frontend, owner: str) -> Notice:
    where = f"{frontend.kind.value} {frontend.address} port {frontend.port}/{port.protocol.value}"
    text = f"{where} already belongs to {owner}; left to it"
    return Notice("frontend-taken", text, object=f"Service {port.name}")


def without_conflicts(ports: Sequence[ResolvedPort]) -> tuple[Sequence[ResolvedPort], list[Notice]]:
    """`ports` with each frontend in one port only, and a warning for each that was removed."""
    keys = [(f.address, f.port, p.protocol, p.family) for p in ports for f in p.frontends]
    if len(set(keys)) == len(keys):
        return ports, []
    claims = Claims()
    claims.replace((), ports)
    settled = [claims.settle(port) for port in ports]
    return [port for port, _ in settled], [notice for _, notices in settled for notice in notices]
