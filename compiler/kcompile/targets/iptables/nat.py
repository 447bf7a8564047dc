"""The nat table: from a destination, by a tree, to the service port's chain, and on to a backend; masquerading last."""

from __future__ import annotations

from itertools import chain as concat

from ...ir.model import Frontend, Policy, PoolKind, ResolvedPort
from . import policy as policies
from .context import Chains, Context, Leaf, comment
from .names import chain, digest
from .policy import ALL, Condition, Nat, Step
from .pools import inline_rules, pool_name, pool_rules
from .tree import Item

__all__ = ["MASQUERADE", "POSTROUTING", "SERVICES", "lower_nat"]

SERVICES = chain("SERVICES")
VIPS = chain("VIPS")
NODE_PORTS = chain("NODEPORTS")
POSTROUTING = chain("POSTROUTING")
HAIRPIN = chain("HAIRPIN")
INLINE_BACKENDS = 4  # a rule in the tree repeats the destination: more of them cost more than a chain
MASQUERADE = "-j MASQUERADE --random-fully"


def lower_nat(context: Context) -> Chains:
    """Every nat chain of one family, entry chains first."""
    below: Chains = {}
    ambient = _ambient(context)
    vips, node_ports = _Services(context, ambient, below).lower()
    entries: Chains = {SERVICES: ()}
    if vips:
        entries[VIPS] = context.address_tree(vips, "V", below)
        marks = tuple("".join((*context.condition(step.condition), context.mark_on)) for step in ambient)
        entries[SERVICES] = (*marks, f"-j {VIPS}", *([context.mark_off] if marks else []))
    if node_ports:
        # after the VIPs, so that an address that is both keeps its VIP's ports
        entries[NODE_PORTS] = context.port_tree(node_ports, "N", below)
        entries[SERVICES] += tuple(f"{match}-g {NODE_PORTS}" for match in context.node_port_matches())
    entries |= _postrouting(context, below)
    return entries | below


def _ambient(context: Context) -> tuple[Step, ...]:
    """The marks that nearly every ClusterIP wants, set once ahead of the tree and taken off what comes back from it.

    kube-proxy writes them into each service's chain; that is a fifth of the rules that the kernel copies at every commit.
    """
    if context.settings.masquerade_all:
        return (Step(ALL, mark=True),)
    return (Step(Condition(pods=False), mark=True),) if context.has_pods else ()


class _Services:
    """Lowers the service ports of one family: their chains go to `chains`, the rules that lead there are returned."""

    def __init__(self, context: Context, ambient: tuple[Step, ...], chains: Chains) -> None:
        self.context, self.ambient, self.chains = context, ambient, chains
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
        plans = [(frontend, self._plan(frontend.policy)) for frontend in port.frontends]
        if len(plans) == 1 and self._inline(port, *plans[0]):
            return
        ident = digest(f"{port.name}/{port.protocol.lower}")
        targets: dict[Nat, str] = {}
        used: set[PoolKind] = set()
        for frontend, plan in plans:
            if not plan.steps and plan.final is None:
                continue
            used.update(kind for kind in (plan.final, *(step.pool for step in plan.steps)) if kind)
            if plan.final and plan.steps == (self.ambient if frontend.address else ()):
                target = pool_name(plan.final, ident)
            else:
                target = targets.get(plan) or self._entry(plan, ident, len(targets))
                targets[plan] = target
            self._lead(port, frontend, f"-g {target}")
        for kind in PoolKind:
            if kind in used:
                self.chains[pool_name(kind, ident)] = tuple(pool_rules(self.context, port, kind, self.chains))

    def _inline(self, port: ResolvedPort, frontend: Frontend, plan: Nat) -> bool:
        """A small pool that nothing else leads to is listed right in the tree: two chain entries fewer to a service."""
        if plan.final is None or plan.steps != self.ambient or not frontend.address or frontend.source_ranges or port.affinity_seconds:
            return False
        backends = port.pool(plan.final)
        if not 0 < len(backends) <= INLINE_BACKENDS:
            return False
        number, key, destination, ports = self.context.place(port, frontend)
        rules = inline_rules(self.context, backends, destination + ports, comment(port, frontend))
        self.vips.append((number, key, tuple(rules)))
        return True

    def _entry(self, plan: Nat, ident: str, index: int) -> str:
        """A chain for what the sources of a frontend get apart. It starts from no mark, however the packet came."""
        context = self.context
        rules = [] if not self.ambient or plan.steps[:1] == (Step(ALL, mark=True),) else [context.mark_off]
        for step in plan.steps:
            action = context.mark_on if step.mark else f"-g {pool_name(step.pool, ident)}" if step.pool else "-j RETURN"
            rules.append("".join((*context.condition(step.condition), action)))
        if plan.final:
            rules.append(f"-g {pool_name(plan.final, ident)}")
        name = chain("EXT", digest(f"{ident}/{index}") if index else ident)
        self.chains[name] = tuple(rules)
        return name

    def _lead(self, port: ResolvedPort, frontend: Frontend, target: str) -> None:
        """The leaf rules. A source that no range lets in finds none, and the filter table drops it (KUBE-FW in kube-proxy)."""
        number, key, destination, ports = self.context.place(port, frontend)
        sources = self.context.ranges(frontend) if frontend.source_ranges else ("",)
        tail = f"{ports}{comment(port, frontend)}{target}"
        leaf = number, key, tuple(f"{source}{destination}{tail}" for source in sources)
        (self.vips if frontend.address else self.node_ports).append(leaf)


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
