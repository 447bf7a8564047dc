"""A Program that is updated port by port, so that one changed Service costs the work for one Service.

Three things of a port depend on other ports. Marks of insiders' pools do where two hashes meet (marks.py). A
pool with affinity may have its virtual server at a port of the ClusterIP that nobody else uses (sticky.py).
And the DNAT rules of all ports with affinity are two chains. So ports with marks or affinity are kept, and
lowered again when a neighbour moves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...ir.model import Dataplane, Family, FrontendKind, ResolvedPort
from ...program import Change, Key, Program
from ..base import Unchecked
from ..counted import Counted, PortId, port_id
from .lower import FamilyLowering, Lowered, addressed, stands
from .marks import Marks
from .resources import ElementKey
from .sticky import Listening

__all__ = ["IncrementalProgram"]

_Parts = dict[PortId, dict[Key, Any]]


class IncrementalProgram(Unchecked):
    """The Program of `dataplane`, kept up to date port by port: see Incremental in targets/base.py."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._counted = Counted()
        self._families = {family: _Followed(dataplane, family, self._counted.program) for family in Family}
        self.replace((), dataplane.ports)

    @property
    def program(self) -> Program:
        """See `Incremental`."""
        return self._counted.program

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """See `Incremental`."""
        old, new = list(old), list(new)
        parts: _Parts = {}
        for family, followed in self._families.items():
            gone = [port for port in old if port.family is family]
            come = [port for port in new if port.family is family]
            parts |= followed.replace(gone, come)
        return tuple(self._counted.replace(parts))


class _Followed:
    """One family. `program`: what both families have, before a replace."""

    def __init__(self, dataplane: Dataplane, family: Family, program: Program) -> None:
        self._dataplane, self._family, self._program = dataplane, family, program
        self._stands = stands(dataplane, family)
        self._marks = Marks(family.value)
        self._kept: dict[PortId, ResolvedPort] = {}  # those with marks or affinity
        self._sticky: dict[PortId, Lowered] = {}  # those with rules in chains
        self._at: dict[tuple[str, str], set[PortId]] = {}  # ports with affinity, by protocol and ClusterIP
        self._is_there = False  # whether what all Services share is; open connections keep it

    def replace(self, old: list[ResolvedPort], new: list[ResolvedPort]) -> _Parts:
        """What the ports `new`, and ports that they move, have from now on; nothing for a port that goes.

        The identity of what all ports share is its family's.
        """
        gone = {listening for port in old for listening in addressed(port)}
        come = {listening for port in new for listening in addressed(port)}
        lowering = FamilyLowering(
            self._dataplane,
            self._family,
            lambda place: place in come or (place not in gone and self._is_held(place)),
            self._marks,
        )
        moved = self._remove(lowering, old) | self._add(lowering, new)
        for protocol, address, _ in gone | come:
            moved |= self._at.get((protocol, address), set())
        ports = {port_id(port): port for port in new}
        ports |= {port: self._kept[port] for port in moved if port in self._kept}
        parts: _Parts = {port_id(port): {} for port in old}
        rules_before = {port: self._sticky.pop(port, None) for port in {*parts, *ports}}
        for port in sorted(ports):
            lowered = lowering.port(ports[port])
            parts[port] = lowered.resources
            if lowered.vips or lowered.node_ports:
                self._sticky[port] = lowered
        is_there = self._is_there or self._stands or bool(new)
        new_rules = any(_rules(was) != _rules(self._sticky.get(port)) for port, was in rules_before.items())
        if is_there != self._is_there or new_rules:
            parts["", "", self._family.value] = self._shared(lowering)
            self._is_there = is_there
        return parts

    def _is_held(self, place: Listening) -> bool:
        protocol, address, port = place
        return ElementKey(self._family.value, "FRONTENDS", f"{address},{protocol}:{port}") in self._program

    def _remove(self, lowering: FamilyLowering, ports: list[ResolvedPort]) -> set[PortId]:
        """Forget `ports`; returns the ports whose marks that changes."""
        moved: set[PortId] = set()
        for port in ports:
            self._kept.pop(port_id(port), None)
            for pool in lowering.pools(port):
                moved |= self._marked(self._marks.remove(pool))
            if port.affinity_seconds:
                self._at[_cluster_ip(port)].discard(port_id(port))
                if not self._at[_cluster_ip(port)]:
                    del self._at[_cluster_ip(port)]
        return moved

    def _add(self, lowering: FamilyLowering, ports: list[ResolvedPort]) -> set[PortId]:
        """Count `ports` in; returns the ports whose marks that changes."""
        moved: set[PortId] = set()
        for port in ports:
            pools = lowering.pools(port)
            for pool in pools:
                moved |= self._marked(self._marks.add(pool))
            if port.affinity_seconds:
                self._at.setdefault(_cluster_ip(port), set()).add(port_id(port))
            if pools or port.affinity_seconds:
                self._kept[port_id(port)] = port
        return moved

    def _marked(self, pools: Iterable[tuple[str, str, str]]) -> set[PortId]:
        return {(name, protocol, self._family.value) for name, protocol, _ in pools}

    def _shared(self, lowering: FamilyLowering) -> dict[Key, Any]:
        rules = [self._sticky[port] for port in sorted(self._sticky)]
        return {**lowering.sets(), **lowering.node(), **lowering.chains(rules)}


def _rules(lowered: Lowered | None) -> tuple[Sequence[str], Sequence[str]]:
    return (lowered.vips, lowered.node_ports) if lowered is not None else ((), ())


def _cluster_ip(port: ResolvedPort) -> tuple[str, str]:
    """The protocol and the ClusterIP of `port`; no address where it has none."""
    kinds = [frontend.kind for frontend in port.frontends if frontend.address]
    places = dict(zip(kinds, addressed(port), strict=True))
    protocol, address, _ = places.get(FrontendKind.CLUSTER_IP, (port.protocol.lower, "", 0))
    return protocol, address
