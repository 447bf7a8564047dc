"""The namespaces of a lab's fabric, nodes and client, and the links between them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from . import netns, network
from .settings import LabSettings, NodeSettings

__all__ = ["fabric", "make_fabric", "make_nodes"]

_AT_ONCE = 4


def fabric(lab: str) -> str:
    """The name of the namespace in which the lab's process lives."""
    return netns.netns_name(lab, "fabric")


def make_fabric(lab: str) -> None:
    """Make the fabric's namespace, empty. Raises KernelError."""
    netns.add([fabric(lab)])


def make_nodes(settings: LabSettings, say: Callable[[str], None]) -> None:
    """Make the namespaces of nodes and client, and link all of them. Raises KernelError."""
    name = settings.name
    nodes = {node.name: netns.netns_name(name, "node", node.name) for node in settings.nodes}
    client = netns.netns_name(name, "client")
    routes, families = settings.network == "routes", 1 + settings.dual_stack
    say(f"network of {len(nodes)} nodes")
    netns.add([client, *nodes.values()])
    for each in (fabric(name), client, *nodes.values()):
        netns.tune(each, {} if each == client else network.forwarding)
    netns.batch(network.fabric_lines(settings.nodes, nodes, client, routes, families), fabric(name))
    netns.batch(network.client_lines(families), client)

    def link(node: NodeSettings) -> None:
        netns.batch(network.node_lines(node, settings.nodes, routes), nodes[node.name])
        if not routes:
            netns.batch(network.neighbour_lines(node, settings.nodes), nodes[node.name], "bridge")

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(link, node) for node in settings.nodes]:
            done.result()
