"""One service port -> its elements, and the chains that it shares with ports of its shape.

The result doesn't depend on other ports.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from ...ir.model import Frontend, FrontendKind, Policy, PoolKind, ResolvedPort, Verdict
from ...ir.node import Settings
from ...program import Key
from .affinity import affinity_chain, name_hash
from .base import REJECT, reject_rule
from .resources import Chain, ChainKey, ElementKey, Rule, comment_text
from .shapes import Shape, shape_of

__all__ = ["PortLowering"]


class PortLowering:
    """Lowers ports of one family into `program`; `maps` are the names of the maps and sets that they use.

    Both may be exchanged between two ports.
    """

    def __init__(self, settings: Settings, family: str, program: dict[Key, Any]) -> None:
        self.settings, self.family, self.program = settings, family, program
        self.maps: set[str] = set()
        self.shapes: dict[tuple[int, int, int, str, bool], tuple[Policy, Shape, ChainKey]] = {}

    def define(self, name: str) -> str:
        self.maps.add(name)
        return name

    def port(self, port: ResolvedPort) -> None:
        program, family, proto = self.program, self.family, port.protocol.lower
        cluster = [f"{b.ip} . {b.port}" for b in port.cluster]
        local = [f"{b.ip} . {b.port}" for b in port.local]
        for b in (*port.cluster, *port.local):
            if b.hairpin:
                program[ElementKey(family, self.define("hairpin"), f"{b.ip} . {b.ip}")] = ("", "")
        for frontend in port.frontends:
            node_port = frontend.kind is FrontendKind.NODE_PORT
            prefix = f"{proto}-node-port-" if node_port else f"{proto}-"
            key = (
                f"{proto} . {frontend.port}"
                if node_port
                else f"{frontend.address} . {proto} . {frontend.port}"
            )
            slots = str(frontend.port) if node_port else f"{frontend.address} . {frontend.port}"
            if frontend.source_ranges:
                guard = ("goto " + self.guard(frontend.source_ranges), comment_text(port.name))
                program[ElementKey(family, self.define("guarded"), key)] = guard
            if frontend.kind is FrontendKind.CLUSTER_IP and self.settings.compat.reject_unknown_ports:
                program[ElementKey(family, self.define("cluster-ips"), frontend.address)] = ("", "")
            policy = frontend.policy
            comment = comment_text(f"{port.name} {frontend.kind.value}")
            if policy.others.verdict is not Verdict.DNAT:
                self.block(key, frontend, comment)
                if not policy.forwards:
                    continue
            dispatch = self.define("node-ports" if node_port else "frontends")
            if port.affinity_seconds:
                chain = affinity_chain(program, port, policy, family, self.settings)
                program[ElementKey(family, dispatch, key)] = (f"goto {chain}", comment)
                continue
            shape = self.shape(policy, len(cluster), len(local), proto, node_port)
            program[ElementKey(family, dispatch, key)] = (f"goto {shape.name}", comment)
            for pool, name in ((shape.outsiders, "backends"), (shape.insiders, "insiders")):
                if pool is not None:
                    name = self.define(prefix + name)
                    for slot, data in enumerate(cluster if pool is PoolKind.CLUSTER else local):
                        program[ElementKey(family, name, f"{slots} . {slot}")] = (data, "")

    def shape(self, policy: Policy, cluster: int, local: int, proto: str, node_port: bool) -> Shape:
        # Policies are shared objects (passes/policy.py), so the identity of one that is kept is a key.
        key = (id(policy), cluster, local, proto, node_port)
        found = self.shapes.get(key)
        if found is None:
            sizes = {PoolKind.CLUSTER: cluster, PoolKind.LOCAL: local}
            shape = shape_of(policy, sizes, self.family, proto, node_port, self.settings)
            found = self.shapes[key] = (policy, shape, ChainKey(self.family, shape.name))
        _, shape, chain = found
        self.program[chain] = shape.chain
        return shape

    def block(self, key: str, frontend: Frontend, comment: str) -> None:
        """The element that drops or rejects packets for `frontend` that no chain has DNATed."""
        if frontend.kind is FrontendKind.NODE_PORT:
            name = "blocked-node-ports"
        else:
            name = "blocked-external" if frontend.policy.host.verdict is Verdict.PASS else "blocked"
        verdict = "drop"
        if frontend.policy.others.verdict is Verdict.REJECT:
            verdict = f"goto {REJECT}"
            self.program[ChainKey(self.family, REJECT)] = Chain((reject_rule(),))
        self.program[ElementKey(self.family, self.define(name), key)] = (verdict, comment)

    def guard(self, ranges: tuple[str, ...]) -> str:
        """The chain that drops sources outside `ranges`; Services with the same ranges share it."""
        name = f"sources-{name_hash(*sorted(ranges))}"
        key = ChainKey(self.family, name)
        if key not in self.program:
            text = f"{self.family} saddr != {{ {', '.join(_disjoint(ranges))} }} drop"
            self.program[key] = Chain((Rule.make(text, "outside loadBalancerSourceRanges"),))
        return name


def _disjoint(ranges: tuple[str, ...]) -> list[str]:
    """`ranges` without overlaps, which an nft interval set refuses."""
    return [str(n) for n in ipaddress.collapse_addresses(ipaddress.ip_network(r) for r in ranges)]  # type: ignore[type-var]
