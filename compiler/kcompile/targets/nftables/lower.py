"""Dataplane -> Program: one pass over the ports; per element nothing but string building."""

from __future__ import annotations

import ipaddress
from typing import Any

from ...ir.model import Dataplane, Family, Frontend, FrontendKind, Policy, PoolKind, Protocol, ResolvedPort, Verdict
from ..base import Key
from .affinity import affinity_chain, name_hash
from .base import REJECT, base_chains, reject_rule
from .resources import Chain, Map, Rule, Table, comment_text
from .shapes import Shape, shape_of

__all__ = ["lower"]

_FAMILY = {Family.IPV4: "ip", Family.IPV6: "ip6"}


def lower(dataplane: Dataplane) -> dict[Key, Any]:
    """The nftables Program of `dataplane`, in the order in which it is best loaded: tables, elements, maps, chains."""
    program: dict[Key, Any] = {}
    for family in Family:
        ports = [p for p in dataplane.ports if p.family is family]
        needed = dataplane.settings.compat.drop_unallocated and any(
            (":" in c) is (family is Family.IPV6) for c in dataplane.settings.service_cidrs
        )
        if ports or needed or (family is Family.IPV4 and dataplane.node.route_localnet):
            _Lowering(dataplane, _FAMILY[family], program).run(ports)
    return program


class _Lowering:
    """One family's lowering: the caches that the ports share."""

    def __init__(self, dataplane: Dataplane, family: str, program: dict[Key, Any]) -> None:
        self.dataplane, self.family, self.program = dataplane, family, program
        self.settings = dataplane.settings
        self.maps: set[str] = set()
        self.shapes: dict[tuple[int, int, int, str, bool], Shape] = {}
        self.guards: dict[tuple[str, ...], str] = {}

    def run(self, ports: list[ResolvedPort]) -> None:
        program, family = self.program, self.family
        program[("table", family)] = Table()
        for port in ports:
            self.port(port)
        addresses = self.dataplane.node.node_ports(6 if family == "ip6" else 4)
        if addresses is not None and self.maps & {"node-ports", "blocked-node-ports"}:
            usable = [a for a in addresses if self.settings.compat.localhost_node_ports or not a.startswith("127.")]
            self.define("node-addresses")
            for address in usable:
                if address != "::1":
                    program[("element", family, "node-addresses", address)] = ("", "")
        if "blocked" in self.maps or "blocked-external" in self.maps or "blocked-node-ports" in self.maps or self.guards:
            program[("chain", family, REJECT)] = Chain((reject_rule(),))
        for name in sorted(self.maps):
            program[("map", family, name)] = _maps(family)[name]
        for name, chain in base_chains(self.dataplane, family, self.maps).items():
            program[("chain", family, name)] = chain

    def define(self, name: str) -> str:
        self.maps.add(name)
        return name

    def port(self, port: ResolvedPort) -> None:
        program, family, proto = self.program, self.family, port.protocol.lower
        cluster = [f"{b.ip} . {b.port}" for b in port.cluster]
        local = [f"{b.ip} . {b.port}" for b in port.local]
        for b in (*port.cluster, *port.local):
            if b.hairpin:
                program[("element", family, self.define("hairpin"), f"{b.ip} . {b.ip}")] = ("", "")
        for frontend in port.frontends:
            node_port = frontend.kind is FrontendKind.NODE_PORT
            prefix = f"{proto}-node-port-" if node_port else f"{proto}-"
            key = f"{proto} . {frontend.port}" if node_port else f"{frontend.address} . {proto} . {frontend.port}"
            slots = str(frontend.port) if node_port else f"{frontend.address} . {frontend.port}"
            if frontend.source_ranges:
                guard = ("goto " + self.guard(frontend.source_ranges), comment_text(port.name))
                program[("element", family, self.define("guarded"), key)] = guard
            if frontend.kind is FrontendKind.CLUSTER_IP and self.settings.compat.reject_unknown_ports:
                program[("element", family, self.define("cluster-ips"), frontend.address)] = ("", "")
            policy = frontend.policy
            comment = comment_text(f"{port.name} {frontend.kind.value}")
            if policy.others.verdict is not Verdict.DNAT:
                self.block(key, frontend, comment)
                if not policy.forwards:
                    continue
            dispatch = self.define("node-ports" if node_port else "frontends")
            if port.affinity_seconds:
                chain = affinity_chain(program, port, policy, family, self.settings)
                program[("element", family, dispatch, key)] = (f"goto {chain}", comment)
                continue
            shape = self.shape(policy, len(cluster), len(local), proto, node_port)
            program[("element", family, dispatch, key)] = (f"goto {shape.name}", comment)
            for pool, name in ((shape.outsiders, "backends"), (shape.insiders, "insiders")):
                if pool is not None:
                    name = self.define(prefix + name)
                    for slot, data in enumerate(cluster if pool is PoolKind.CLUSTER else local):
                        program[("element", family, name, f"{slots} . {slot}")] = (data, "")

    def shape(self, policy: Policy, cluster: int, local: int, proto: str, node_port: bool) -> Shape:
        # Policies are shared objects (passes/policy.py), so their identity will do as a key.
        key = (id(policy), cluster, local, proto, node_port)
        shape = self.shapes.get(key)
        if shape is None:
            sizes = {PoolKind.CLUSTER: cluster, PoolKind.LOCAL: local}
            shape = self.shapes[key] = shape_of(policy, sizes, self.family, proto, node_port, self.settings)
            self.program[("chain", self.family, shape.name)] = shape.chain
        return shape

    def block(self, key: str, frontend: Frontend, comment: str) -> None:
        """What happens to packets for `frontend` that no chain has DNATed."""
        if frontend.kind is FrontendKind.NODE_PORT:
            name = "blocked-node-ports"
        else:
            name = "blocked-external" if frontend.policy.host.verdict is Verdict.PASS else "blocked"
        verdict = f"goto {REJECT}" if frontend.policy.others.verdict is Verdict.REJECT else "drop"
        self.program[("element", self.family, self.define(name), key)] = (verdict, comment)

    def guard(self, ranges: tuple[str, ...]) -> str:
        """The chain that drops sources outside `ranges`; Services with the same ranges share it."""
        name = self.guards.get(ranges)
        if name is None:
            name = self.guards[ranges] = f"sources-{name_hash(*sorted(ranges))}"
            text = f"{self.family} saddr != {{ {', '.join(_disjoint(ranges))} }} drop"
            self.program[("chain", self.family, name)] = Chain((Rule.make(text, "outside loadBalancerSourceRanges"),))
        return name


def _disjoint(ranges: tuple[str, ...]) -> list[str]:
    """`ranges` without overlaps, which an nft interval set refuses."""
    return [str(n) for n in ipaddress.collapse_addresses(ipaddress.ip_network(r) for r in ranges)]  # type: ignore[type-var]


def _maps(family: str) -> dict[str, Map]:
    """Every map and set that a Program may define, by name."""
    address = "ipv6_addr" if family == "ip6" else "ipv4_addr"
    by_address, by_port = (address, "inet_proto", "inet_service"), ("inet_proto", "inet_service")
    backend = (address, "inet_service")
    maps = {
        "frontends": Map(by_address, ("verdict",)),
        "node-ports": Map(by_port, ("verdict",)),
        "blocked": Map(by_address, ("verdict",)),
        "blocked-external": Map(by_address, ("verdict",)),
        "blocked-node-ports": Map(by_port, ("verdict",)),
        "guarded": Map(by_address, ("verdict",)),
        "cluster-ips": Map((address,)),
        "node-addresses": Map((address,)),
        "hairpin": Map((address, address)),
    }
    for protocol in Protocol:
        for pool in ("backends", "insiders"):
            maps[f"{protocol.lower}-{pool}"] = Map((address, "inet_service", "integer"), backend)
            maps[f"{protocol.lower}-node-port-{pool}"] = Map(("inet_service", "integer"), backend)
    return maps
