"""Picks this node's Node of the input, and makes the IR's NodeFacts from it."""

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
    """The Node called `name`, or the only one where `name` is None.

    None where the input has no Nodes: the caller detects the facts. Raises SpecError.
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
    """The facts of this node, from `node`, `config` and the addresses of its interfaces.

    `interface_addresses` are candidates for nodePortAddresses; where `node` has no addresses they replace
    those, in the order given.
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
    """InternalIPs, then ExternalIPs (GetNodeHostIPs of pkg/util/node); the first of a family is primary."""
    entries = (node.status.addresses if node and node.status else None) or ()
    internal = [canonical_ip(entry.address) for entry in entries if entry.type == "InternalIP"]
    external = [canonical_ip(entry.address) for entry in entries if entry.type == "ExternalIP"]
    return tuple(dict.fromkeys(internal + external))


def _node_ports(
    family: int, config: Config, compat: Compat, addresses: Iterable[str], candidates: Iterable[str]
) -> tuple[str, ...] | None:
    """NodePortAddresses of pkg/proxy/util: the addresses of `family` that NodePorts answer on.

    None means every local address: where a CIDR has length 0, and where the family has no CIDR.
    """
    wanted = config.node_port_addresses
    if wanted == ("primary",) or (not wanted and compat.primary_node_ports):
        of_family = [address for address in addresses if family_of(address) == family]
        return (of_family[0],) if of_family else None
    own = [network(cidr) for cidr in wanted if family_of(cidr) == family]
    if not own or any(net.length == 0 for net in own):
        return None
    usable = [ip for ip in candidates if family_of(ip) == family and _may_answer(ip, compat)]
    return tuple(ip for ip in usable if any(ip in net for net in own))


def _may_answer(ip: str, compat: Compat) -> bool:
    """NodePorts never answer on ::1, and on 127.0.0.0/8 only where the kube-proxy mode does."""
    return ip != "::1" and (compat.localhost_node_ports or ip not in _LOOPBACK)


def _covers_loopback(config: Config, node_ports4: tuple[str, ...] | None) -> bool:
    """ContainsIPv4Loopback: True if IPv4 NodePorts answer somewhere in 127.0.0.0/8."""
    if node_ports4 is None:
        return True
    own = [network(cidr) for cidr in config.node_port_addresses if cidr != "primary" and family_of(cidr) == 4]
    return any(net.first <= _LOOPBACK.last and _LOOPBACK.first <= net.last for net in own)
