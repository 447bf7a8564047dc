"""The nat table: from a destination, by a tree, to the service port's chain, and on to a backend; masquerading last."""

from __future__ import annotations

from itertools import chain as concat

from ...ir.model import Frontend, Policy, PoolKind, ResolvedPort
from . import policy as policies
from .context import Chains, Context, Leaf
from .names import chain, digest
from .policy import Nat
from .pools import pool_name, pool_rules
from .tree import Item

__all__ = ["MASQUERADE", "POSTROUTING", "SERVICES", "lower_nat"]

SERVICES = chain("SERVICES")
VIPS = chain("VIPS")
NODE_PORTS = chain("NODEPORTS")
POSTROUTING = chain("POSTROUTING")
HAIRPIN = chain("HAIRPIN")
MASQUERADE = "-j MASQUERADE --random-fully"


def lower_nat(context: Context) -> Chains:
    """Every nat chain of one family, entry chains first."""
    below: Chains = {}
    vips, node_ports = _Services(context, below).lower()
    entries: Chains = {SERVICES: ()}
    if vips:
        entries[VIPS] = context.address_tree(vips, "V", below)
        entries[SERVICES] = (f"-j {VIPS}",)
    if node_ports:
        # after the VIPs, so that an address that is both keeps its VIP's ports
        entries[NODE_PORTS] = context.port_tree(node_ports, "N", below)
        entries[SERVICES] += tuple(f"{match}-g {NODE_PORTS}" for match in context.node_port_matches())
    entries |= _postrouting(context, below)
    return entries | below


class _Services:
    """Lowers the service ports of one family: their chains go to `chains`, the rules that lead there are returned."""

    def __init__(self, context: Context, chains: Chains) -> None:
        self.context, self.chains = context, chains
        self.plans: dict[Policy, Nat] = {}
        self.vips: list[Leaf] = []
        self.node_ports: list[Leaf] = []

    def lower(self) -> tuple[list[Leaf], list[Leaf]]:
        for port in self.context.ports:
            self._port(port)
        return self.vips, self.node_ports

    def _plan(self, policy: Policy) -> Nat:
        plan = self.plans.get(policy)
        if plan is None:
            plan = self.plans[policy] = policies.nat(policy, self.context.has_pods)
        return plan

    def _port(self, port: ResolvedPort) -> None:
        groups: dict[Nat, list[Frontend]] = {}
        for frontend in port.frontends:
            plan = self._plan(frontend.policy)
            if plan.steps or plan.final:
                groups.setdefault(plan, []).append(frontend)
        if not groups:
            return
        ident = digest(f"{port.name}/{port.protocol.lower}")
        used = [kind for plan in groups for kind in (*(step.pool for step in plan.steps), plan.final) if kind]
        pools: dict[PoolKind, list[str]] = {kind: [] for kind in used}
        entries = 0
        for plan, frontends in groups.items():
            if plan.final and not plan.steps:
                target = pool_name(plan.final, ident)
            elif plan.final and used.count(plan.final) == 1:
                pools[plan.final] = self._steps(plan, ident)
                target = pool_name(plan.final, ident)
            elif plan.final and plan.marks_only and len(frontends) == 1 and frontends[0].address:
                # kube-proxy's way: others share the chain, so the mark asks for the destination once more
                pools[plan.final] += self._steps(plan, ident, port.protocol.lower, frontends[0])
                target = pool_name(plan.final, ident)
            else:
                tail = [f"-g {pool_name(plan.final, ident)}"] if plan.final else []
                target = chain("EXT", digest(f"{port.name}/{port.protocol.lower}/{entries}") if entries else ident)
                self.chains[target] = (*self._steps(plan, ident), *tail)
                entries += 1
            self._lead(port, frontends, f"-g {target}")
        for kind, marks in pools.items():
            rules = pool_rules(self.context, port, kind, self.chains)
            self.chains[pool_name(kind, ident)] = (*marks, *rules)

    def _steps(self, plan: Nat, ident: str, proto: str = "", only: Frontend | None = None) -> list[str]:
        """The rules of a plan's steps; with `only` for packets to that frontend alone."""
        context = self.context
        where = ports = ""
        if only:
            where = f"-d {context.spelling.canonical(only.address)}{context.spelling.host} "
            ports = f"-p {proto} -m {proto} --dport {only.port} "
        rules = []
        for step in plan.steps:
            source, interface, extra = context.condition(step.condition)
            action = context.mark_on if step.mark else f"-g {pool_name(step.pool, ident)}" if step.pool else "-j RETURN"
            rules.append(f"{source}{where}{interface}{ports}{extra}{action}")
        return rules

    def _lead(self, port: ResolvedPort, frontends: list[Frontend], target: str) -> None:
        """The leaf rules. A source that no range lets in finds none, and the filter table drops it (KUBE-FW in kube-proxy)."""
        context = self.context
        for frontend in frontends:
            leaves = self.vips if frontend.address else self.node_ports
            if frontend.source_ranges:
                leaves += [context.leaf(port, frontend, target, source) for source in context.ranges(frontend)]
            else:
                leaves.append(context.leaf(port, frontend, target))


def _postrouting(context: Context, below: Chains) -> Chains:
    """Marked packets are masqueraded, and so is a pod that was sent to itself: it would answer itself past the node.

    A marked packet needs no look at the hairpins, and its mark goes whichever way it came (KUBE-POSTROUTING; the flip is
    an xor with the mark, known to be set, so that no other bit is touched).
    """
    hosts = {b.ip for port in context.ports for b in concat(port.cluster, port.local) if b.hairpin}
    spelling = context.spelling
    items: list[Item] = []
    for number, ip in sorted((spelling.number(ip), spelling.canonical(ip)) for ip in hosts):
        where = f"{ip}{spelling.host}"
        items.append((number, (f"-s {where} -d {where} -m conntrack --ctstate DNAT {MASQUERADE}",)))
    unmarked = f"-m mark ! --mark {context.mark} "
    chains: Chains = {POSTROUTING: (f"{unmarked}{'-g ' + HAIRPIN if items else '-j RETURN'}", context.mark_flip, MASQUERADE)}
    if items:
        chains[HAIRPIN] = context.tree(items, "H", below, "-s")
    return chains
