"""The nat table: from a destination, by a tree, to the service port's chain, and on to a backend;
masquerading last.
"""

from __future__ import annotations

from itertools import chain as concat

from ...ir.model import Frontend, Policy, PoolKind, ResolvedPort
from . import policy as policies
from .context import Chains, Context, Leaf, comment
from .names import chain, digest
from .pieces import Memo, Piece
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


def lower_nat(context: Context, memo: Memo) -> Chains:
    """Every nat chain of one family, entry chains first."""
    ambient = _ambient(context)
    trees, below, hairpins = memo.add_up(context.ports, _Services(context, ambient).piece)
    entries: Chains = {SERVICES: ()}
    if VIPS in trees:
        entries[VIPS] = context.address_tree(trees[VIPS], "V", below)
        marks = tuple("".join((*context.condition(step.condition), context.mark_on)) for step in ambient)
        entries[SERVICES] = (*marks, f"-j {VIPS}", *([context.mark_off] if marks else []))
    if NODE_PORTS in trees:
        # after the VIPs, so that an address that is both keeps its VIP's ports
        entries[NODE_PORTS] = context.port_tree(trees[NODE_PORTS], "N", below)
        entries[SERVICES] += tuple(f"{match}-g {NODE_PORTS}" for match in context.node_port_matches())
    entries |= _postrouting(context, hairpins, below)
    return entries | below


def _ambient(context: Context) -> tuple[Step, ...]:
    """The marks that nearly every ClusterIP wants, set once ahead of the tree and taken off what comes back
    from it.

    kube-proxy writes them into each service's chain; that is a fifth of the rules that the kernel copies at
    every commit.
    """
    if context.settings.masquerade_all:
        return (Step(ALL, mark=True),)
    return (Step(Condition(pods=False), mark=True),) if context.has_pods else ()


class _Services:
    """Lowers service ports one by one."""

    def __init__(self, context: Context, ambient: tuple[Step, ...]) -> None:
        self.context, self.ambient = context, ambient
        self.plans: dict[int, Nat] = {}

    def piece(self, port: ResolvedPort) -> Piece:
        hairpins = [backend.ip for backend in concat(port.cluster, port.local) if backend.hairpin]
        plans = [(frontend, self._plan(frontend.policy)) for frontend in port.frontends]
        if len(plans) == 1:
            inline = self._inline(port, *plans[0])
            if inline:
                return Piece(((VIPS, inline),), None, hairpins or ())
        return self._chained(port, plans, hairpins)

    def _plan(self, policy: Policy) -> Nat:
        # the passes share policies, and the dataplane keeps them alive: an id is as good as the value, and
        # quicker to hash
        plan = self.plans.get(id(policy))
        if plan is None:
            plan = self.plans[id(policy)] = policies.nat(policy, self.context.has_pods)
        return plan

    def _inline(self, port: ResolvedPort, frontend: Frontend, plan: Nat) -> Leaf | None:
        """A small pool that nothing else leads to is listed right in the tree: two chain entries fewer to a
        service.
        """
        if (
            plan.final is None
            or plan.steps != self.ambient
            or not frontend.address
            or frontend.source_ranges
            or port.affinity_seconds
        ):
            return None
        backends = port.pool(plan.final)
        if not 0 < len(backends) <= INLINE_BACKENDS:
            return None
        number, key, destination, ports = self.context.destination(port, frontend)
        return number, key, inline_rules(self.context, backends, destination + ports, comment(port, frontend))

    def _chained(self, port: ResolvedPort, plans: list[tuple[Frontend, Nat]], hairpins: list[str]) -> Piece:
        ident = digest(f"{port.name}/{port.protocol.lower}")
        targets: dict[Nat, str] = {}
        used: set[PoolKind] = set()
        leaves: list[tuple[str, Leaf]] = []
        chains: Chains = {}
        for frontend, plan in plans:
            if not plan.steps and plan.final is None:
                continue
            used.update(kind for kind in (plan.final, *(step.pool for step in plan.steps)) if kind)
            if plan.final and plan.steps == (self.ambient if frontend.address else ()):
                target = pool_name(plan.final, ident)
            else:
                target = targets.setdefault(
                    plan, chain("EXT", digest(f"{ident}/{len(targets)}") if targets else ident)
                )
                chains[target] = self._entry(plan, ident)
            leaves.append(
                (VIPS if frontend.address else NODE_PORTS, self._leaf(port, frontend, f"-g {target}"))
            )
        for kind in PoolKind:
            if kind in used:
                chains[pool_name(kind, ident)] = tuple(pool_rules(self.context, port, kind, chains))
        return Piece(leaves, chains, hairpins)

    def _entry(self, plan: Nat, ident: str) -> tuple[str, ...]:
        """What the sources of a frontend get apart. It starts from no mark, however the packet came."""
        context = self.context
        rules = [] if not self.ambient or plan.steps[:1] == (Step(ALL, mark=True),) else [context.mark_off]
        for step in plan.steps:
            action = (
                context.mark_on
                if step.mark
                else f"-g {pool_name(step.pool, ident)}"
                if step.pool
                else "-j RETURN"
            )
            rules.append("".join((*context.condition(step.condition), action)))
        if plan.final:
            rules.append(f"-g {pool_name(plan.final, ident)}")
        return tuple(rules)

    def _leaf(self, port: ResolvedPort, frontend: Frontend, target: str) -> Leaf:
        """A source that no range lets in finds no rule, and the filter table drops it (KUBE-FW in
        kube-proxy).
        """
        number, key, destination, ports = self.context.destination(port, frontend)
        sources = self.context.ranges(frontend) if frontend.source_ranges else ("",)
        tail = f"{ports}{comment(port, frontend)}{target}"
        return number, key, tuple(f"{source}{destination}{tail}" for source in sources)


def _postrouting(context: Context, hairpins: set[str], below: Chains) -> Chains:
    """Marked packets are masqueraded, and so is a pod that was sent to itself: it would answer itself past
    the node.

    A marked packet needs no look at the hairpins, and its mark goes whichever way it came (KUBE-POSTROUTING;
    the flip is an xor with the mark, known to be set, so that no other bit is touched).
    """
    spelling = context.spelling
    items: list[Item] = []
    for number, ip in sorted((spelling.number(ip), spelling.canonical(ip)) for ip in hairpins):
        where = f"{ip}{spelling.host}"
        items.append((number, (f"-s {where} -d {where} -m conntrack --ctstate DNAT {MASQUERADE}",)))
    unmarked = f"-m mark ! --mark {context.mark} "
    chains: Chains = {
        POSTROUTING: (f"{unmarked}{'-g ' + HAIRPIN if items else '-j RETURN'}", context.mark_flip, MASQUERADE)
    }
    if items:
        chains[HAIRPIN] = context.tree(items, "H", below, "-s")
    return chains
