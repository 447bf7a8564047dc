"""The filter table: REJECT and DROP for packets that nat did not DNAT, ACCEPT for forwarded Service traffic.

Rejected: a frontend without endpoints. Dropped: one without local endpoints under a Local policy, and a
source outside loadBalancerSourceRanges. The rules match new connections only (kube-proxy's chains
KUBE-EXTERNAL-SERVICES, KUBE-PROXY-FIREWALL and KUBE-SERVICES in filter). A packet that nat sent to a backend
no longer has the frontend's address, so they don't match it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...ir.model import Frontend, FrontendKind, HealthCheck, Policy, ResolvedPort, Verdict
from . import policy as policies
from .context import Chains, Context, Leaf, comment
from .names import NODE_PORTS, chain, digest
from .pieces import Piece
from .policy import ALL, Judgement
from .tree import Tree

__all__ = ["FORWARD", "INPUT", "OUTPUT", "FilterLayout"]

INPUT, FORWARD, OUTPUT = chain("INPUT"), chain("FORWARD"), chain("OUTPUT")
CLUSTER_IPS = chain("CLUSTER-IPS")
_EVERYWHERE, _INWARD, _OUTWARD = chain("DEAD"), chain("DEAD-IN"), chain("DEAD-OUT")
_LABELS = {_EVERYWHERE: "D", _INWARD: "I", _OUTWARD: "O", NODE_PORTS: "N"}
_NEW = "-m conntrack --ctstate NEW "
_Judged = tuple[tuple[Judgement, ...], tuple[Judgement, ...]]  # in INPUT and FORWARD, in OUTPUT


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


class FilterLayout:
    """The filter table of one family.

    `members`: ClusterIPs, in a tree that rejects ports of theirs that no Service has, and drops unallocated
    addresses of ServiceCIDRs. kube-proxy's nftables mode does both (cluster-ips-check in
    pkg/proxy/nftables/proxier.go), its iptables mode neither.
    """

    name = "filter"
    labels: Mapping[str, str] = _LABELS
    members = CLUSTER_IPS

    def __init__(self, context: Context) -> None:
        self.context = context
        self.health_checks: Sequence[HealthCheck] = context.dataplane.health_checks
        compat, verdicts = context.compat, context.verdicts
        self._plans: dict[tuple[int, bool], tuple[Policy, _Judged]] = {}
        self._unallocated = (
            tuple([f"-d {cidr} -j DROP" for cidr in context.service_cidrs]) if compat.drop_unallocated else ()
        )
        self._guards = bool(self._unallocated) or compat.reject_unknown_ports
        self._unknown_port = verdicts[Verdict.REJECT if compat.reject_unknown_ports else Verdict.PASS]

    def trees(self) -> dict[str, Tree]:
        context = self.context
        found = {root: context.address_tree(_LABELS[root]) for root in (_EVERYWHERE, _INWARD, _OUTWARD)}
        found[NODE_PORTS] = context.port_tree(_LABELS[NODE_PORTS])
        found[CLUSTER_IPS] = context.address_tree("C", default=self._unallocated)
        return found

    def member(self, address: str) -> tuple[str, ...]:
        return (f"-d {address}{self.context.spelling.host} {self._unknown_port}",)

    def entries(self, roots: Mapping[str, tuple[str, ...]]) -> Chains:
        """A hook chain without rules is left out."""
        context = self.context
        trees = {name: roots[name] for name in _LABELS if name in roots}
        cluster_ips = (*roots.get(CLUSTER_IPS, ()), *self._unallocated)
        if cluster_ips:
            trees[CLUSTER_IPS] = cluster_ips

        def jumps(*names: str) -> list[str]:
            return [f"{_NEW}-j {name}" for name in names if name in trees]

        martians = _martians(context)
        health_checks = sorted(self.health_checks, key=lambda check: check.port)
        to_node_ports = context.node_port_matches() if NODE_PORTS in trees else []
        invalid = ["-m conntrack --ctstate INVALID -j DROP"] if context.settings.drop_invalid else []
        hooks = {
            # NodePorts come last, as in nat; their packets are for the node itself, so FORWARD never sees one
            INPUT: [
                *map(_health_rule, health_checks),
                *martians,
                *jumps(_EVERYWHERE, _INWARD),
                *(f"{_before_states(match)}-g {NODE_PORTS}" for match in to_node_ports),
            ],
            # what nearly every packet is comes first
            FORWARD: [
                "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                *invalid,
                *jumps(_EVERYWHERE, _INWARD, CLUSTER_IPS),
                f"-m mark --mark {context.mark} -j ACCEPT",
            ],
            OUTPUT: [*martians, *jumps(_EVERYWHERE, _OUTWARD, CLUSTER_IPS)],
        }
        return {name: tuple(rules) for name, rules in hooks.items() if rules} | trees

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
        owned = (
            [f.address for f in port.frontends if f.kind is FrontendKind.CLUSTER_IP] if self._guards else ()
        )
        return Piece(leaves, chains, owned)

    def _plan(self, frontend: Frontend) -> _Judged:
        policy, node_port = frontend.policy, frontend.kind is FrontendKind.NODE_PORT
        known = self._plans.get((id(policy), node_port))  # as in nat
        if known is None:
            inward = policies.judgements(policy, self.context.has_pods, node_port)
            known = policy, (inward, policies.host_judgements(policy))
            self._plans[id(policy), node_port] = known
        return known[1]

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
