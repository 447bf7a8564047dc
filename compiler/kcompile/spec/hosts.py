"""Addresses in use by Nodes and Pods."""

from __future__ import annotations

from collections.abc import Iterator

from .addresses import canonical_ip
from .inventory import Inventory
from .objects import Node, Pod

__all__ = ["known_hosts"]

_OVER = ("Succeeded", "Failed")  # phases in which a Pod has given its address back


def known_hosts(inventory: Inventory) -> dict[str, str]:
    """Canonical address -> its owner, as ``Node NAME`` or ``Pod NAMESPACE/NAME`` (a Node wins)."""
    found: dict[str, str] = {}
    for node in inventory.nodes:
        for address in _node_addresses(node):
            found.setdefault(address, f"Node {node.metadata.name}")
    for pod in inventory.pods:
        for address in _pod_addresses(pod):
            found.setdefault(address, f"Pod {pod.key}")
    return found


def _node_addresses(node: Node) -> Iterator[str]:
    for entry in (node.status.addresses if node.status else None) or ():
        if entry.type in ("InternalIP", "ExternalIP"):
            yield canonical_ip(entry.address)


def _pod_addresses(pod: Pod) -> Iterator[str]:
    status = pod.status
    if status is None or status.phase in _OVER:
        return
    for address in (status.pod_ip, *(entry.ip for entry in status.pod_ips or ())):
        if address:
            yield canonical_ip(address)
