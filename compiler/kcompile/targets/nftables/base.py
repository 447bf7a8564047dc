"""The base chains, where packets enter our table (nftables/proxier.go, setupNFTables).

There are only those that the Program's maps need, except the nat chains: where connections may be open
(Dataplane.standing) they stay, empty, with the masquerading rule. Without a nat chain the kernel stops
translating a family's connections (nf_nat_unregister_fn() in nf_nat_core.c), and without a rule that needs
conntrack it stops tracking them (nf_ct_netns_put() in nf_conntrack_proto.c).

firewall-*          nat       source ranges, before any DNAT
prerouting, output  nat       dispatch to the shape chains
refuse-*            nat       REJECT and DROP for what nobody has DNATed, after everybody's dstnat chains
postrouting         nat       masquerade marked packets and pods that reach themselves
filter-*            filter    what kube-proxy's iptables mode refuses on the way in alone

kube-proxy refuses in filter chains, which every packet meets. The kernel runs nat chains for the first packet
of a connection alone, and only until one of them translates it (nf_nat_inet_fn() in nf_nat_core.c). So later
packets meet no chain of ours, and a packet with a DNAT none that refuses. Rules match ``ct state`` so that
connections are tracked where nothing else needs it, and what is related to another connection is let pass.
"""

from __future__ import annotations

from collections.abc import Collection

from ...ir.model import Dataplane
from .resources import Chain, Rule

__all__ = ["REJECT", "base_chains", "reject_rule"]

# The chain that rejects; "reject" is a keyword of nft.
REJECT = "no-endpoints"

# A packet from outside for 127.0.0.0/8, which route_localnet lets in; answers and our own DNAT may use it.
_MARTIAN = (
    "ip daddr 127.0.0.0/8 ip saddr != 127.0.0.0/8 "
    "ct state != { established, related } ct status & dnat != dnat drop"
)

NAT_FIRST, NAT_LAST = -100, 100
FIREWALL = NAT_FIRST - 10  # before DNAT: packets have the address that the client used
REFUSE = NAT_FIRST + 10  # after DNAT, others' too
FILTER = -10  # before other filter chains


def reject_rule() -> Rule:
    return Rule.make("reject", "no endpoints")


def base_chains(dataplane: Dataplane, family: str, maps: Collection[str]) -> dict[str, Chain]:
    """The base chains of `family` for a Program that has the named `maps` and sets."""
    version = 6 if family == "ip6" else 4
    key = f"{family} daddr . meta l4proto . th dport"
    local = _node_port_match(dataplane, family, version)
    chains: dict[str, Chain] = {}

    standing = version in dataplane.standing

    def add(name: str, hook: str, priority: int, rules: list[Rule], stays: bool = False) -> None:
        if rules or stays:
            kind = "filter" if priority == FILTER else "nat"
            chains[name] = Chain(tuple(rules), f"{kind} {hook} {priority}")

    dispatch: list[Rule] = []
    if "frontends" in maps:
        dispatch.append(Rule.make(f"{key} vmap @frontends", "Services by address"))
    if "node-ports" in maps:
        dispatch.append(
            Rule.make(f"{local} meta l4proto . th dport vmap @node-ports", "Services by NodePort")
        )
    add("prerouting", "prerouting", NAT_FIRST, dispatch, standing)
    add("output", "output", NAT_FIRST, dispatch, standing)

    mark = dataplane.settings.masquerade_mark
    leave: list[Rule] = []
    if dispatch or standing:
        leave.append(
            Rule.make(
                f"meta mark & {mark:#x} != 0 meta mark set meta mark ^ {mark:#x} masquerade fully-random",
                "marked on the way in",
            )
        )
    if "hairpin" in maps:
        leave.append(
            Rule.make(
                f"ct status dnat {family} saddr . {family} daddr @hairpin masquerade fully-random",
                "a pod to itself",
            )
        )
    add("postrouting", "postrouting", NAT_LAST, leave, standing)

    if "guarded" in maps:
        guard = [Rule.make(f"ct state new {key} vmap @guarded", "source ranges")]
        add("firewall-prerouting", "prerouting", FIREWALL, guard)
        add("firewall-output", "output", FIREWALL, guard)

    refused: list[Rule] = []
    if "blocked" in maps:
        refused.append(Rule.make(f"ct state new {key} vmap @blocked", "no usable endpoints"))
    if "blocked-node-ports" in maps:
        refused.append(
            Rule.make(
                f"ct state new {local} meta l4proto . th dport vmap @blocked-node-ports",
                "no usable endpoints",
            )
        )
    unknown = _unknown(dataplane, family, version, maps)
    # what is delivered to this node isn't refused: somebody else may have bound the address
    arriving = [(f"{match} fib daddr type != local", verdict, why) for match, verdict, why in unknown]
    for name, hook, rules in (
        ("refuse-prerouting", "prerouting", arriving),
        ("refuse-output", "output", unknown),
    ):
        made = [Rule.make(f"{match} {verdict}", why) for match, verdict, why in rules]
        add(name, hook, REFUSE, refused + made)

    if "blocked-external" in maps:
        inbound = [
            Rule.make(
                f"ct state new {key} vmap @blocked-external",
                "no endpoints, but the host's own packets may leave",
            )
        ]
        add("filter-input", "input", FILTER, inbound)
        add("filter-forward", "forward", FILTER, inbound)
    if version == 4 and dataplane.node.route_localnet:
        add("martians", "input", FILTER, [Rule.make(_MARTIAN, "loopback is not reachable from outside")])
    return chains


def _unknown(
    dataplane: Dataplane, family: str, version: int, maps: Collection[str]
) -> list[tuple[str, str, str]]:
    """Match, verdict and reason for addresses of Services that have no such port, or that no Service has."""
    found: list[tuple[str, str, str]] = []
    if "cluster-ips" in maps:
        found.append((f"ct state new {family} daddr @cluster-ips", "reject", "a port that no Service has"))
    cidrs = [c for c in dataplane.settings.service_cidrs if (":" in c) is (version == 6)]
    if dataplane.settings.compat.drop_unallocated and cidrs:
        match = f"ct state new {family} daddr {{ {', '.join(cidrs)} }}"
        found.append((match, "drop", "no Service has this address"))
    return found


def _node_port_match(dataplane: Dataplane, family: str, version: int) -> str:
    """A match on the addresses that NodePorts answer on."""
    if dataplane.node.node_ports(version) is not None:
        return f"{family} daddr @node-addresses"
    if version == 6:
        return "fib daddr type local ip6 daddr != ::1"
    if dataplane.settings.compat.localhost_node_ports:
        return "fib daddr type local"
    return "fib daddr type local ip daddr != 127.0.0.0/8"
