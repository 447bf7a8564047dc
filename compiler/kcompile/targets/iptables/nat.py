"""The nat table: a tree from the destination to the service port's chain, DNAT to a backend, masquerading."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain as concat

from ...ir.model import Frontend, Policy, PoolKind, ResolvedPort
from . import policy as policies
from .context import Chains, Context, Leaf, comment
from .names import NODE_PORTS, chain, digest
from .pieces import Piece
from .policy import ALL, Condition, Nat, Step
from .pools import inline_rules, pool_name, pool_rules
from .tree import Tree

__all__ = ["MASQUERADE", "POSTROUTING", "SERVICES", "NatLayout"]

SERVICES = chain("SERVICES")
VIPS = chain("VIPS")
POSTROUTING = chain("POSTROUTING")
HAIRPIN = chain("HAIRPIN")
_LABELS = {VIPS: "V", NODE_PORTS: "N"}
INLINE_BACKENDS = 4  # DNAT rules in the tree repeat the destination: more of them cost more than a chain
MASQUERADE = "-j MASQUERADE --random-fully"


def _ambient(context: Context) -> tuple[Step, ...]:
    """The marks that nearly every ClusterIP needs, set once before the tree and cleared after it.

    kube-proxy has them in each service's chain: a fifth of the rules that the kernel copies at every commit.
    """
    if context.settings.masquerade_all:
        return (Step(ALL, mark=True),)
    return (Step(Condition(pods=False), mark=True),) if context.has_pods else ()


class NatLayout:
    """The nat table of one family. `members`: pods that may connect to themselves."""

    name = "nat"
    labels: Mapping[str, str] = _LABELS
    members = HAIRPIN

    def __init__(self, context: Context) -> None:
        self.context, self.ambient = context, _ambient(context)
        self._plans: dict[int, tuple[Policy, Nat]] = {}

    def trees(self) -> dict[str, Tree]:
        return {
            VIPS: self.context.address_tree(_LABELS[VIPS]),
            NODE_PORTS: self.context.port_tree(_LABELS[NODE_PORTS]),
            HAIRPIN: self.context.address_tree("H", "-s"),
        }

    def member(self, address: str) -> tuple[str, ...]:
        """The rule for a packet of a pod to itself, which would answer itself directly."""
        where = f"{address}{self.context.spelling.host}"
        return (f"-s {where} -d {where} -m conntrack --ctstate DNAT {MASQUERADE}",)

    def entries(self, roots: Mapping[str, tuple[str, ...]]) -> Chains:
        context = self.context
        services: list[str] = []
        if VIPS in roots:
            marks = ["".join((*context.condition(step.condition), context.mark_on)) for step in self.ambient]
            services += (*marks, f"-j {VIPS}", *([context.mark_off] if marks else []))
        if NODE_PORTS in roots:
            # after the VIPs, so that an address that is both keeps its VIP's ports
            services += [f"{match}-g {NODE_PORTS}" for match in context.node_port_matches()]
        # A marked packet skips the hairpin tree, and its mark is cleared (KUBE-POSTROUTING; by xor with the
        # mark, which is known to be set, so that no other bit changes).
        unmarked = f"-m mark ! --mark {context.mark} {f'-g {HAIRPIN}' if HAIRPIN in roots else '-j RETURN'}"
        chains: Chains = {
            SERVICES: tuple(services),
            VIPS: roots.get(VIPS, ()),
            NODE_PORTS: roots.get(NODE_PORTS, ()),
            POSTROUTING: (unmarked, context.mark_flip, MASQUERADE),
            HAIRPIN: roots.get(HAIRPIN, ()),
        }
        always = (SERVICES, POSTROUTING)
        return {name: rules for name, rules in chains.items() if name in roots or name in always}

    def piece(self, port: ResolvedPort) -> Piece:
        hairpins = [backend.ip for backend in concat(port.cluster, port.local) if backend.hairpin]
        plans = [(frontend, self._plan(frontend.policy)) for frontend in port.frontends]
        if len(plans) == 1:
            inline = self._inline(port, *plans[0])
            if inline:
                return Piece(((VIPS, inline),), None, hairpins or ())
        return self._chained(port, plans, hairpins)

    def _plan(self, policy: Policy) -> Nat:
        # the passes share policies, and an id hashes faster than the value
        known = self._plans.get(id(policy))
        if known is None:  # the policy is kept too, so that its id isn't reused
            known = self._plans[id(policy)] = policy, policies.nat(policy, self.context.has_pods)
        return known[1]

    def _inline(self, port: ResolvedPort, frontend: Frontend, plan: Nat) -> Leaf | None:
        """The DNAT rules of a small pool with one frontend, in the tree itself; None where it needs a chain.

        This saves two chain entries a service.
        """
        if plan.final is None or plan.steps != self.ambient or not frontend.address:
            return None
        if frontend.source_ranges or port.affinity_seconds:
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
                own = digest(f"{ident}/{len(targets)}") if targets else ident
                target = targets.setdefault(plan, chain("EXT", own))
                chains[target] = self._entry(plan, ident)
            root = VIPS if frontend.address else NODE_PORTS
            leaves.append((root, self._leaf(port, frontend, f"-g {target}")))
        for kind in PoolKind:
            if kind in used:
                chains[pool_name(kind, ident)] = tuple(pool_rules(self.context, port, kind, chains))
        return Piece(leaves, chains, hairpins)

    def _entry(self, plan: Nat, ident: str) -> tuple[str, ...]:
        """The chain that separates a frontend's sources; it clears the mark first."""
        context = self.context
        rules = [] if not self.ambient or plan.steps[:1] == (Step(ALL, mark=True),) else [context.mark_off]
        for step in plan.steps:
            action = "-j RETURN"
            if step.mark:
                action = context.mark_on
            elif step.pool:
                action = f"-g {pool_name(step.pool, ident)}"
            rules.append("".join((*context.condition(step.condition), action)))
        if plan.final:
            rules.append(f"-g {pool_name(plan.final, ident)}")
        return tuple(rules)

    def _leaf(self, port: ResolvedPort, frontend: Frontend, target: str) -> Leaf:
        """The leaf of `frontend`. A source outside its ranges matches no rule; filter drops it (KUBE-FW)."""
        number, key, destination, ports = self.context.destination(port, frontend)
        sources = self.context.ranges(frontend) if frontend.source_ranges else ("",)
        tail = f"{ports}{comment(port, frontend)}{target}"
        return number, key, tuple(f"{source}{destination}{tail}" for source in sources)
