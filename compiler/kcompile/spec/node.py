"""Which Node of the input this is, and what it says of itself, as the IR's NodeFacts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import SpecError
from ..ir.node import Compat, NodeFacts
from .addresses import canonical_ip, family_of, network, special, unpack
from .config import Config
from .inventory import Inventory
from .objects import Node
from .settings import pod_cidrs
from .text import shown
from .wellknown import ZONE_LABEL

__all__ = ["node_facts", "pick_node"]

_LOOPBACK = network("127.0.0.0/8")


def pick_node(inventory: Inventory, name: str | None = None) -> Node | None:
    """The Node called `name`; without a name the only one there is.

    None where the input has no Nodes: the caller detects the facts.
    """
    nodes = {node.metadata.name: node for node in inventory.nodes}
    if not nodes:
        return None
    known = ", ".join(sorted(nodes))
    if name is None:
        if len(nodes) > 1:
            raise SpecError(f"the input has several Nodes, name this one with --node: {known}")
        return next(iter(nodes.values()))
    if name not in nodes:
        raise SpecError(f"the input has no Node {shown(name)}; it has {known} (--node)")
    return nodes[name]


def node_facts(
    node: Node | None, config: Config, compat: Compat, interface_addresses: Sequence[str] = ()
) -> NodeFacts:
    """What is known of this node.

    `interface_addresses`: those of its interfaces, for nodePortAddresses; without a Node's own addresses they
    stand in for them, in the order given.
    """
    interfaces = tuple(dict.fromkeys(map(canonical_ip, interface_addresses)))
    addresses = _status_addresses(node) or tuple(ip for ip in interfaces if not special(unpack(ip)))
    candidates = tuple(dict.fromkeys((*addresses, *interfaces)))
    labels = (node.metadata.labels if node else None) or {}
    node_ports4 = _node_ports(4, config, compat, addresses, candidates)
    return NodeFacts(
        name=node.metadata.name if node else config.hostname,
        zone=labels.get(ZONE_LABEL, ""),
        addresses=addresses,
        interfaces=interfaces,
        pod_cidrs=pod_cidrs(node),
        node_ports4=node_ports4,
        node_ports6=_node_ports(6, config, compat, addresses, candidates),
        route_localnet=compat.localhost_node_ports and _covers_loopback(config, node_ports4),
    )


def _status_addresses(node: Node | None) -> tuple[str, ...]:
    """InternalIPs, then ExternalIPs (GetNodeHostIPs of pkg/util/node): the first of a family is the primary
    one.
    """
    entries = (node.status.addresses if node and node.status else None) or ()
    return tuple(
        dict.fromkeys(
            canonical_ip(e.address)
            for kind in ("InternalIP", "ExternalIP")
            for e in entries
            if e.type == kind
        )
    )


def _node_ports(
    family: int, config: Config, compat: Compat, addresses: Iterable[str], candidates: Iterable[str]
) -> tuple[str, ...] | None:
    """NodePortAddresses of pkg/proxy/util: None is every local address, which a family without a CIDR of its
    own means too.
    """
    wanted = config.node_port_addresses
    if wanted == ("primary",) or (not wanted and compat.primary_node_ports):
        primary = next((address for address in addresses if family_of(address) == family), None)
        return None if primary is None else (primary,)
    own = [network(cidr) for cidr in wanted if family_of(cidr) == family]
    if any(net.length == 0 for net in own) or not own:
        return None
    inside = (
        address
        for address in candidates
        if family_of(address) == family and any(address in net for net in own)
    )
    # IPv6 NodePorts never answer on ::1, IPv4's on 127.0.0.0/8 only where the mode has it so.
    return tuple(
        address
        for address in inside
        if address != "::1" and (compat.localhost_node_ports or address not in _LOOPBACK)
    )


def _covers_loopback(config: Config, node_ports4: tuple[str, ...] | None) -> bool:
    """ContainsIPv4Loopback: IPv4 NodePorts are to answer somewhere in 127.0.0.0/8."""
    if node_ports4 is None:
        return True
    own = [network(cidr) for cidr in config.node_port_addresses if cidr != "primary" and family_of(cidr) == 4]
    return any(net.first <= _LOOPBACK.last and _LOOPBACK.first <= net.last for net in own)
