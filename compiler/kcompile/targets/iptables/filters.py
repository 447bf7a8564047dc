"""The filter table: REJECT and DROP for packets that nat did not DNAT, ACCEPT for forwarded Service traffic.

Rejected: a frontend without endpoints. Dropped: one without local endpoints under a Local policy, and a
source outside loadBalancerSourceRanges. The rules match new connections only (kube-proxy's chains
KUBE-EXTERNAL-SERVICES, KUBE-PROXY-FIREWALL and KUBE-SERVICES in filter). A packet that nat sent to a backend
no longer has the frontend's address, so they don't match it.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...ir.model import Frontend, FrontendKind, HealthCheck, ResolvedPort, Verdict
from . import policy as policies
from .context import Chains, Context, Leaf, comment
from .names import chain, digest
from .pieces import Memo, Piece
from .policy import ALL, Judgement
from .tree import Item

__all__ = ["FORWARD", "INPUT", "OUTPUT", "lower_filter"]

INPUT, FORWARD, OUTPUT = chain("INPUT"), chain("FORWARD"), chain("OUTPUT")
NODE_PORTS = chain("NODEPORTS")
CLUSTER_IPS = chain("CLUSTER-IPS")
_EVERYWHERE, _INWARD, _OUTWARD = chain("DEAD"), chain("DEAD-IN"), chain("DEAD-OUT")
_LABELS = {_EVERYWHERE: "D", _INWARD: "I", _OUTWARD: "O"}
_NOTHING = Piece(())
_NEW = "-m conntrack --ctstate NEW "


def lower_filter(context: Context, memo: Memo) -> Chains:
    """Every filter chain of one family, hook chains first; a hook chain without rules is left out."""
    trees, below, _ = memo.add_up(context.ports, _Blocked(context).piece)
    entries: Chains = {
        name: context.address_tree(trees[name], label, below)
        for name, label in _LABELS.items()
        if name in trees
    }
    node_ports = NODE_PORTS in trees
    if node_ports:
        entries[NODE_PORTS] = context.port_tree(trees[NODE_PORTS], "N", below)
    cluster_ips = _cluster_ips(context, below)
    if cluster_ips:
        entries[CLUSTER_IPS] = cluster_ips

    def jumps(*names: str) -> list[str]:
        return [f"{_NEW}-j {name}" for name in names if name in entries]

    martians = _martians(context)
    health_checks = sorted(context.dataplane.health_checks, key=lambda check: check.port)
    to_node_ports = context.node_port_matches() if node_ports else []
    invalid = ["-m conntrack --ctstate INVALID -j DROP"] if context.settings.drop_invalid else []
    hooks = {
        # NodePorts come last, as in nat; their packets are for the node itself, so FORWARD never sees one
        INPUT: [
            *map(_health_rule, health_checks),
            *martians,
            *jumps(_EVERYWHERE, _INWARD),
            *(f"{_before_states(match)}-g {NODE_PORTS}" for match in to_node_ports),
        ],
        FORWARD: [
            *invalid,
            *jumps(_EVERYWHERE, _INWARD, CLUSTER_IPS),
            f"-m mark --mark {context.mark} -j ACCEPT",
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        ],
        OUTPUT: [*martians, *jumps(_EVERYWHERE, _OUTWARD, CLUSTER_IPS)],
    }
    return {name: tuple(rules) for name, rules in hooks.items() if rules} | entries | below


def _health_rule(check: HealthCheck) -> str:
    """The rule that accepts the load balancer's health checks."""
    comment = f'"{check.namespace}/{check.service} healthCheckNodePort"'
    return f"-p tcp -m tcp --dport {check.port} -m comment --comment {comment} -j ACCEPT"


def _before_states(match: str) -> str:
    """A NodePort's `match` narrowed to new connections; in our rules conntrack comes before addrtype."""
    where, addrtype, kind = match.partition("-m addrtype")
    return f"{where}{_NEW}{addrtype}{kind}"


def _martians(context: Context) -> list[str]:
    """With route_localnet set: drops packets from outside to 127.0.0.0/8 (KUBE-FIREWALL, CVE-2020-8558)."""
    if context.spelling.version == 6 or not context.node.route_localnet:
        return []
    return ["! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"]


class _Blocked:
    """The rules that block frontends, sorted by the hooks that see their packets."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.plans: dict[tuple[int, bool], tuple[tuple[Judgement, ...], tuple[Judgement, ...]]] = {}

    def piece(self, port: ResolvedPort) -> Piece:
        leaves: list[tuple[str, Leaf]] = []
        chains: Chains = {}
        for frontend in port.frontends:
            inward, outward = self._plan(frontend)
            if not (inward or outward or frontend.source_ranges):
                continue
            if frontend.kind is FrontendKind.NODE_PORT:
                roots = [(NODE_PORTS, inward)]
            else:
                roots = (
                    [(_EVERYWHERE, inward)] if inward == outward else [(_INWARD, inward), (_OUTWARD, outward)]
                )
            for root, wanted in roots:
                leaves.extend((root, leaf) for leaf in self._leaf(port, frontend, wanted, chains))
        return Piece(leaves, chains) if leaves else _NOTHING

    def _plan(self, frontend: Frontend) -> tuple[tuple[Judgement, ...], tuple[Judgement, ...]]:
        node_port = frontend.kind is FrontendKind.NODE_PORT
        key = id(frontend.policy), node_port  # as in nat
        plan = self.plans.get(key)
        if plan is None:
            inward = policies.judgements(frontend.policy, self.context.has_pods, node_port)
            plan = self.plans[key] = inward, policies.host_judgements(frontend.policy)
        return plan

    def _leaf(
        self, port: ResolvedPort, frontend: Frontend, wanted: tuple[Judgement, ...], chains: Chains
    ) -> Iterator[Leaf]:
        rules = self._rules(port, frontend, wanted, chains)
        if rules:
            number, key, destination, ports = self.context.destination(port, frontend)
            tail = comment(port, frontend)
            texts = (
                f"{source}{destination}{interface}{ports}{extra}{tail}{target}"
                for source, interface, extra, target in rules
            )
            yield number, key, tuple(texts)

    def _rules(
        self, port: ResolvedPort, frontend: Frontend, wanted: tuple[Judgement, ...], chains: Chains
    ) -> list[tuple[str, str, str, str]]:
        """Source, interface and extension matches and the target of each rule for a frontend."""
        context = self.context
        drop, verdicts = context.verdicts[Verdict.DROP], context.verdicts
        if not frontend.source_ranges:
            if wanted == (Judgement(ALL, Verdict.PASS),):
                return []
            return [(*context.condition(on), verdicts[verdict]) for on, verdict in wanted]
        if not wanted or wanted == (Judgement(ALL, Verdict.DROP),):
            return [("", "", "", drop)]
        target = (
            verdicts[wanted[0].verdict] if len(wanted) == 1 else f"-g {self._classes(port, wanted, chains)}"
        )
        return [*((source, "", "", target) for source in context.ranges(frontend)), ("", "", "", drop)]

    def _classes(self, port: ResolvedPort, wanted: tuple[Judgement, ...], chains: Chains) -> str:
        """A chain that tells the classes apart: a rule has room for one -s, and the source range has taken
        it.
        """
        rules = tuple(
            "".join((*self.context.condition(on), self.context.verdicts[verdict])) for on, verdict in wanted
        )
        name = chain("CLS", digest("\n".join((port.name, port.protocol.lower, *rules))))
        chains[name] = rules
        return name


def _cluster_ips(context: Context, below: Chains) -> tuple[str, ...]:
    """The tree that rejects unknown ports of ClusterIPs, and drops unallocated addresses of ServiceCIDRs.

    kube-proxy's nftables mode has both (cluster-ips-check in pkg/proxy/nftables/proxier.go), its
    iptables mode neither.
    """
    compat, spelling = context.compat, context.spelling
    cidrs = tuple(f"-d {cidr} -j DROP" for cidr in context.service_cidrs) if compat.drop_unallocated else ()
    if not (cidrs or compat.reject_unknown_ports):
        return ()
    verdict = context.verdicts[Verdict.REJECT if compat.reject_unknown_ports else Verdict.PASS]
    owned = {f.address for port in context.ports for f in port.frontends if f.kind is FrontendKind.CLUSTER_IP}
    numbers = sorted((spelling.number(a), spelling.canonical(a)) for a in owned)
    items: list[Item] = [(number, (f"-d {address}{spelling.host} {verdict}",)) for number, address in numbers]
    return (*context.tree(items, "C", below, default=cidrs), *cidrs)
