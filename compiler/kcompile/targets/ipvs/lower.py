"""Dataplane -> Program: one pass over the ports; keys are in a good order to create them in."""

from __future__ import annotations

from typing import Any

from ...ir.model import Backend, Dataplane, Family, Frontend, PoolKind, ResolvedPort, Verdict
from ...program import Key
from ..xtables.keys import ChainKey, JumpKey
from .chains import PREFIX, FamilyRules
from .marks import Marks, node_port_mark
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
from .sticky import Sticky

__all__ = ["PREFIX", "halves", "lower", "set_definition"]

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

    A family in which no Service lives gets nothing, unless its unallocated addresses are dropped, or
    connections may be open: then it has what all Services share.
    """
    program: dict[Key, Any] = {}
    for family in Family:
        ports = [p for p in dataplane.ports if p.family is family]
        guarded = dataplane.settings.compat.drop_unallocated and any(
            (":" in c) is (family is Family.IPV6) for c in dataplane.settings.service_cidrs
        )
        if ports or guarded or family.value in dataplane.standing:
            program.setdefault(DeviceKey(), "")
            _Lowering(dataplane, family, program).run(ports)
    return program


class _Lowering:
    """One family."""

    def __init__(self, dataplane: Dataplane, family: Family, program: dict[Key, Any]) -> None:
        self.node, self.program, self.version = dataplane.node, program, family.value
        self.default_scheduler = dataplane.settings.ipvs.scheduler
        self.rules = FamilyRules(dataplane, family)
        self.canonical = self.rules.spelling.canonical
        self.marks = Marks(self.version)
        self.own = {*dataplane.node.addresses, *dataplane.node.interfaces}
        self.halves = halves(self.version)

    def run(self, ports: list[ResolvedPort]) -> None:
        version, program = self.version, self.program
        for name in SETS:
            program[SetKey(version, name)] = set_definition(version, name)
        taken = {
            (p.protocol.lower, self.canonical(f.address), f.port)
            for p in ports
            for f in p.frontends
            if f.address
        }
        self.sticky = Sticky(self.rules, taken)
        for port in ports:
            self.port(port)
        for address in self.rules.node_ips or ():
            if not self.rules.spelling.is_loopback(address):
                self.put("NODE-IPS", self.canonical(address))
        for cidr in self.rules.settings.ipvs.excluded:
            if self.rules.spelling.contains(cidr):
                network = self.rules.spelling.network(cidr).removesuffix(self.rules.spelling.host)
                for one in self.halves if network.endswith("/0") else (network,):
                    self.put("EXCLUDED", one)
        chains, jumps = self.rules.build(self.sticky.vips, self.sticky.node_ports)
        for (table, name), rules in chains.items():
            program[ChainKey(f"ip{version}", table, name)] = rules
        for table, hook, rule in jumps:
            program[JumpKey(f"ip{version}", table, hook, rule)] = ""

    def put(self, name: str, entry: str, options: str = "") -> None:
        self.program[ElementKey(self.version, name, entry)] = options

    def port(self, port: ResolvedPort) -> None:
        plans = [(f, plan_of(f.policy, self.rules.has_pods)) for f in port.frontends]
        proto = port.protocol.lower
        for backend in (*port.cluster, *port.local):
            if backend.hairpin:
                ip = self.canonical(backend.ip)
                self.put("LOOP", f"{ip},{proto}:{backend.port},{ip}")
        if port.affinity_seconds:
            homes = self.sticky.homes(port, plans)
            for kind, (address, number) in homes.items():
                self.serve(port, kind, proto, address, number)
            for frontend, plan in plans:
                led = self.sticky.lead(port, frontend, plan, homes)
                self.frontend(port, frontend, plan, "", "")
                if led and frontend.address:
                    self.put("STICKY", f"{self.canonical(frontend.address)},{proto}:{frontend.port}")
            return
        for frontend, plan in plans:
            inside = outside = ""
            if plan.inside is not None:
                mark = f"{self.marks.of(f'{port.name}/{plan.inside.value}', proto):#x}"
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
