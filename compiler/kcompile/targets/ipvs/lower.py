"""Dataplane -> Program: one pass over the ports; keys are in a good order to create them in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ...ir.model import Backend, Dataplane, Family, Frontend, PoolKind, ResolvedPort, Verdict
from ...program import Key
from ..xtables.keys import ChainKey, JumpKey
from ..xtables.spelling import SPELLINGS
from .chains import PREFIX, FamilyRules
from .marks import Marks, Pool, node_port_mark
from .plans import Plan, plan_of
from .resources import (
    FWMARK,
    SETS,
    AddressKey,
    DeviceKey,
    ElementKey,
    RealServer,
    RealServerKey,
    SetKey,
    VirtualServer,
    VirtualServerKey,
)
from .sticky import Listening, Sticky

__all__ = [
    "FamilyLowering",
    "Lowered",
    "PREFIX",
    "addressed",
    "halves",
    "lower",
    "set_definition",
    "stands",
]

_PERSISTENT = 0x1  # IP_VS_SVC_F_PERSISTENT (uapi/linux/ip_vs.h)
_MH_PORT = 0x10  # IP_VS_SVC_F_SCHED_MH_PORT, as kube-proxy sets it for mh (ipvs/proxier.go)
_LIVE = RealServer(1)


def halves(version: int) -> tuple[str, str]:
    """Two networks with every address, for hash:net has no /0."""
    return ("0.0.0.0/1", "128.0.0.0/1") if version == 4 else ("::/1", "8000::/1")


def set_definition(version: int, name: str) -> str:
    """What ``ipset create`` takes after the name."""
    kind, extensions = SETS[name]
    return f"{kind} family {'inet' if version == 4 else 'inet6'} maxelem 1048576{extensions}"


def lower(dataplane: Dataplane) -> dict[Key, Any]:
    """The Program of both families.

    A family in which no Service lives gets nothing, unless `stands` says so.
    """
    program: dict[Key, Any] = {}
    for family in Family:
        ports = [p for p in dataplane.ports if p.family is family]
        if not ports and not stands(dataplane, family):
            continue
        frontends = {frontend for port in ports for frontend in addressed(port)}
        lowering = FamilyLowering(dataplane, family, frontends.__contains__)
        for port in ports:
            for pool in lowering.pools(port):
                lowering.marks.add(pool)
        program |= lowering.sets()
        lowered = [lowering.port(port) for port in ports]
        for one in lowered:
            program |= one.resources
        program |= lowering.node()
        program |= lowering.chains(lowered)
    return program


def stands(dataplane: Dataplane, family: Family) -> bool:
    """Whether `family` has what all Services share though there may be none: its unallocated addresses are
    dropped, or connections may be open.
    """
    settings = dataplane.settings
    guarded = settings.compat.drop_unallocated and any(
        (":" in c) is (family is Family.IPV6) for c in settings.service_cidrs
    )
    return guarded or family.value in dataplane.standing


def addressed(port: ResolvedPort) -> list[Listening]:
    """The frontends of `port` that have an address: those that aren't NodePorts."""
    canonical, proto = SPELLINGS[port.family].canonical, port.protocol.lower
    return [(proto, canonical(f.address), f.port) for f in port.frontends if f.address]


class Lowered(NamedTuple):
    """What a port has of its own, and its rules in the two chains of sticky.py."""

    resources: dict[Key, Any]
    vips: Sequence[str] = ()
    node_ports: Sequence[str] = ()


class FamilyLowering:
    """One family.

    `is_frontend`: whether some port listens there. `marks` has to have the `pools` of a port before the port
    is lowered. Ports with affinity are lowered in their order, those of one ClusterIP in one FamilyLowering.
    """

    def __init__(
        self,
        dataplane: Dataplane,
        family: Family,
        is_frontend: Callable[[Listening], bool],
        marks: Marks | None = None,
    ) -> None:
        self.version = family.value
        self.default_scheduler = dataplane.settings.ipvs.scheduler
        self.rules = FamilyRules(dataplane, family)
        self.canonical = self.rules.spelling.canonical
        self.marks = marks or Marks(self.version)
        self.sticky = Sticky(self.rules, is_frontend)
        self.own = {*dataplane.node.addresses, *dataplane.node.interfaces}
        self.halves = halves(self.version)
        self.program: dict[Key, Any] = {}

    def sets(self) -> dict[Key, Any]:
        """The device and the sets, which all ports use."""
        program: dict[Key, Any] = {DeviceKey(): ""}
        for name in SETS:
            program[SetKey(self.version, name)] = set_definition(self.version, name)
        return program

    def node(self) -> dict[Key, Any]:
        """The set elements of the node and the settings."""
        self.program = {}
        for address in self.rules.node_ips or ():
            if not self.rules.spelling.is_loopback(address):
                self.put("NODE-IPS", self.canonical(address))
        for cidr in self.rules.settings.ipvs.excluded:
            if self.rules.spelling.contains(cidr):
                network = self.rules.spelling.network(cidr).removesuffix(self.rules.spelling.host)
                for one in self.halves if network.endswith("/0") else (network,):
                    self.put("EXCLUDED", one)
        return self.program

    def chains(self, lowered: Iterable[Lowered]) -> dict[Key, Any]:
        """The iptables rules, with those of `lowered` in their order."""
        vips: list[str] = []
        node_ports: list[str] = []
        for one in lowered:
            vips += one.vips
            node_ports += one.node_ports
        chains, jumps = self.rules.build(vips, node_ports)
        family = f"ip{self.version}"
        return {
            **{ChainKey(family, table, name): rules for (table, name), rules in chains.items()},
            **{JumpKey(family, table, hook, rule): "" for table, hook, rule in jumps},
        }

    def pools(self, port: ResolvedPort) -> list[Pool]:
        """The pools of insiders that `port` has, each of which needs a mark."""
        if port.affinity_seconds:  # its servers have addresses
            return []
        inside = {plan_of(f.policy, self.rules.has_pods).inside for f in port.frontends} - {None}
        return [(port.name, port.protocol.lower, kind.value) for kind in inside if kind is not None]

    def put(self, name: str, entry: str, options: str = "") -> None:
        self.program[ElementKey(self.version, name, entry)] = options

    def port(self, port: ResolvedPort) -> Lowered:
        """The resources of `port`."""
        self.program = {}
        plans = [(f, plan_of(f.policy, self.rules.has_pods)) for f in port.frontends]
        proto = port.protocol.lower
        for backend in (*port.cluster, *port.local):
            if backend.hairpin:
                ip = self.canonical(backend.ip)
                self.put("LOOP", f"{ip},{proto}:{backend.port},{ip}")
        if port.affinity_seconds:
            return self.sticky_port(port, plans)
        for frontend, plan in plans:
            inside = outside = ""
            if plan.inside is not None:
                mark = f"{self.marks.of((port.name, proto, plan.inside.value)):#x}"
                inside = f"skbmark {mark}"
                self.serve(port, plan.inside, FWMARK, mark, 0)
            if plan.outside is not None:
                if frontend.address:
                    self.serve(port, plan.outside, proto, self.canonical(frontend.address), frontend.port)
                else:
                    mark = f"{node_port_mark(self.version, proto, frontend.port, bool(plan.masquerade)):#x}"
                    outside = f"skbmark {mark}"
                    self.serve(port, plan.outside, FWMARK, mark, 0)
            self.frontend(port, frontend, plan, inside, outside)
        return Lowered(self.program)

    def sticky_port(self, port: ResolvedPort, plans: list[tuple[Frontend, Plan]]) -> Lowered:
        """A port with affinity: a virtual server a pool, and rules to it from its other frontends."""
        proto = port.protocol.lower
        homes = self.sticky.homes(port, plans)
        for kind, (address, number) in homes.items():
            self.serve(port, kind, proto, address, number)
        vips: list[str] = []
        node_ports: list[str] = []
        for frontend, plan in plans:
            rules = self.sticky.lead(port, frontend, plan, homes)
            self.frontend(port, frontend, plan, "", "")
            if not frontend.address:
                node_ports += rules
            elif rules:
                vips += rules
                self.put("STICKY", f"{self.canonical(frontend.address)},{proto}:{frontend.port}")
        return Lowered(self.program, vips, node_ports)

    def serve(self, port: ResolvedPort, kind: PoolKind, proto: str, address: str, number: int) -> None:
        """A virtual server and its pool."""
        scheduler = port.scheduler or self.default_scheduler
        flags = (_MH_PORT if scheduler == "mh" else 0) | (_PERSISTENT if port.affinity_seconds else 0)
        self.program[VirtualServerKey(self.version, proto, address, number)] = VirtualServer(
            scheduler, flags, port.affinity_seconds
        )
        backends: tuple[Backend, ...] = port.pool(kind)
        for b in backends:
            self.program[
                RealServerKey(self.version, proto, address, number, self.canonical(b.ip), b.port)
            ] = _LIVE

    def frontend(self, port: ResolvedPort, frontend: Frontend, plan: Plan, inside: str, outside: str) -> None:
        """The elements of `frontend` in our sets, and its VIP."""
        comment = f'comment "{port.name} {frontend.kind.value}"'
        if not frontend.address:
            self.node_port(
                f"{port.protocol.lower}:{frontend.port}", plan, inside, f"{comment} {outside}".rstrip()
            )
            return
        address = self.canonical(frontend.address)
        entry = f"{address},{port.protocol.lower}:{frontend.port}"
        ranges = [
            self.rules.spelling.network(r) for r in frontend.source_ranges if self.rules.spelling.contains(r)
        ]
        for network in ranges:
            self.put("RANGES", f"{entry},{network.removesuffix(self.rules.spelling.host)}")
        if frontend.source_ranges:
            self.put("GUARDED", entry)
        self.put("FRONTENDS", entry, comment)
        if frontend.address not in self.own and address not in self.own:
            self.put("VIPS", address)
            self.program[AddressKey(self.version, address)] = ""
        if plan.inside is not None:
            self.put("INSIDE", entry, inside)
        if plan.outside is None:
            self.put("DROP" if plan.verdict is Verdict.DROP else "REJECT", entry)
        if plan.masquerade:
            self.put(plan.masquerade, entry)

    def node_port(self, ports: str, plan: Plan, inside: str, options: str) -> None:
        for half in self.halves:
            entry = f"{half},{ports}"
            self.put("NODEPORTS", entry, options)
            if plan.inside is not None:
                self.put("NP-INSIDE", entry, inside)
            if plan.outside is None:
                self.put("NP-DROP" if plan.verdict is Verdict.DROP else "NP-REJECT", entry)
            if plan.masquerade:
                self.put("NP-MASQUERADE", entry)
