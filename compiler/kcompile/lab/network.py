"""The links, addresses and routes of a lab, as lines for ip-batch(8). Pure.

            client 203.0.113.7
                     │
    ┌──────────── fabric ────────────┐      routes: pod CIDRs are routed via the address of their node
    │ 192.0.2.10          192.0.2.11 │      vxlan:  packets between pods are in UDP between the nodes
  node-a                         node-b
    ├── pod 10.244.0.2             ├── pod 10.244.1.2
    └── ...                        └── ...

A routed veth pair links a pod to its node, as most network plugins do it. Addresses of nodes, pods and the
client are /32 or /128, so nodes may have any addresses that their manifests say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_interface, ip_network
from itertools import islice

from ..errors import ConfigError
from .settings import NodeSettings

__all__ = [
    "API_ADDRESSES",
    "CLIENT",
    "VXLAN",
    "client_lines",
    "default_nodes",
    "fabric_lines",
    "forwarding",
    "neighbour_lines",
    "node_lines",
    "pod_lines",
    "pod_node_lines",
]

CLIENT = ("203.0.113.7", "2001:db8:2::7")
VXLAN = "vxlan0"
API_ADDRESSES = ("192.0.2.1", "2001:db8:1::1")
"""The fabric's own addresses: the nodes' gateway, and where pods reach the API server."""
_CLIENT_GATEWAY = ("203.0.113.1", "2001:db8:2::1")
_POD_GATEWAY = ("169.254.1.1", "fe80::1")
_POD_CIDRS = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
_MTU = 1450  # of pods over VXLAN: 1500 less its headers
_OWN_TABLE = 100
_VXLAN_PORT = 8472  # flannel's, and Linux's own default

forwarding = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
"""Sysctls of the namespaces that route."""


def default_nodes(count: int, dual_stack: bool, pod_cidrs: Iterable[str] = ()) -> list[NodeSettings]:
    """Nodes node-a, node-b, ...; their pod CIDRs are parts of `pod_cidrs`, or of the lab's own range.

    Raises ConfigError for ranges that are too small.
    """
    ranges = [_parts(pod_cidrs, version, count) for version in (4, 6)[: 1 + dual_stack]]
    names = [f"node-{chr(97 + i)}" if i < 26 else f"node-{i}" for i in range(count)]
    return [
        NodeSettings(
            name=name,
            ips=[f"192.0.2.{10 + i}", f"2001:db8:1::{10 + i:x}"][: 1 + dual_stack],
            pod_cidrs=[every[i] for every in ranges],
            labels={"kubernetes.io/hostname": name},
        )
        for i, name in enumerate(names)
    ]


def _parts(pod_cidrs: Iterable[str], version: int, count: int) -> list[str]:
    """`count` ranges for nodes out of the first of `pod_cidrs` with this IP version; a /24 or a /64 each
    where they fit.
    """
    networks = [ip_network(cidr) for cidr in pod_cidrs]
    whole = next(
        (network for network in networks if network.version == version), ip_network(_POD_CIDRS[version])
    )
    usual, longest = (24, 29) if version == 4 else (64, 125)
    length = max(usual, whole.prefixlen + (count - 1).bit_length())
    if length > longest:
        raise ConfigError(f"the pod CIDR {whole} is too small for {count} nodes: each needs a /{longest}")
    return [str(part) for part in islice(whole.subnets(new_prefix=length), count)]


def fabric_lines(
    nodes: Iterable[NodeSettings], netns_of: dict[str, str], client: str, routes: bool, families: int
) -> Iterator[str]:
    """The fabric: a bridge for the nodes, a link to the client, and with `routes` the routes to pod CIDRs.

    `netns_of`: each node's network namespace; `client`: that of the client; `families`: how many (1 or 2).
    """
    yield "link set lo up"
    yield "link add fabric type bridge"
    yield "link set fabric up"
    yield f"link add client type veth peer name eth0 netns {client}"
    yield "link set client up"
    for gateway, address in zip(_CLIENT_GATEWAY[:families], CLIENT, strict=False):
        yield f"address add {_host(gateway)} dev client nodad"
        yield f"route add {_host(address)} dev client"
    for gateway in API_ADDRESSES[:families]:
        yield f"address add {_host(gateway)} dev fabric nodad"
    for number, node in enumerate(nodes):
        yield f"link add node{number} type veth peer name eth0 netns {netns_of[node.name]}"
        yield f"link set node{number} master fabric up"
        for ip in node.ips:
            yield f"route add {_host(ip)} dev fabric"
        # over VXLAN only the API server itself has routes to pods, for its answers (over IPv4)
        table = "" if routes else f" table {_OWN_TABLE}"
        for cidr, ip in _pairs(node):
            if routes or ":" not in ip:
                yield f"route add {cidr} via {ip} dev fabric onlink{table}"
    if not routes:
        yield f"rule add iif lo lookup {_OWN_TABLE}"


def client_lines(families: int) -> Iterator[str]:
    """The client outside."""
    yield "link set lo up"
    yield "link set eth0 up"
    for address, gateway in zip(CLIENT[:families], _CLIENT_GATEWAY, strict=False):
        yield f"address add {_host(address)} dev eth0 nodad"
        yield f"route add default via {gateway} dev eth0 onlink"


def node_lines(node: NodeSettings, nodes: Sequence[NodeSettings], routes: bool) -> Iterator[str]:
    """A node, and its routes to the others."""
    yield "link set lo up"
    yield "link set eth0 up"
    for ip in node.ips:
        yield f"address add {_host(ip)} dev eth0 nodad"
        yield f"route add default via {_of_family(API_ADDRESSES, ip)} dev eth0 onlink"
    if not routes:
        tunnel = f"vxlan id 1 local {node.ips[0]} dstport {_VXLAN_PORT} nolearning"
        yield f"link add {VXLAN} address {_mac(nodes.index(node))} type {tunnel}"
        yield f"link set {VXLAN} up"
        for cidr in node.pod_cidrs:
            yield f"address add {_host(_first(cidr))} dev {VXLAN} nodad"
    for number, other in enumerate(nodes):
        if other is node:
            continue
        for ip in other.ips:
            yield f"route add {_host(ip)} dev eth0"
        for cidr, ip in _pairs(other):
            if routes:
                yield f"route add {cidr} via {ip} dev eth0 onlink"
            else:
                yield f"neigh add {_first(cidr)} lladdr {_mac(number)} dev {VXLAN} nud permanent"
                yield f"route add {cidr} via {_first(cidr)} dev {VXLAN} onlink"


def neighbour_lines(node: NodeSettings, nodes: Sequence[NodeSettings]) -> Iterator[str]:
    """Forwarding entries for bridge(8): the node address of each VXLAN device."""
    for number, other in enumerate(nodes):
        if other is not node:
            yield f"fdb append {_mac(number)} dev {VXLAN} dst {other.ips[0]}"


def pod_node_lines(
    link: str, ips: Sequence[str], node: NodeSettings, netns: str, routes: bool
) -> Iterator[str]:
    """The node's side of the pod with the addresses `ips`: the interface `link`, and routes to them."""
    mtu = "" if routes else f" mtu {_MTU}"
    yield f"link add {link}{mtu} type veth peer name eth0{mtu} netns {netns}"
    yield f"link set {link} up"
    for ip in ips:
        gateway = _of_family(_POD_GATEWAY, ip)
        own = f"{gateway}/64 dev {link} nodad" if ":" in ip else f"{gateway}/32 dev {link} scope link"
        yield f"address add {own}"
        source = next((f" src {each}" for each in node.ips if (":" in each) == (":" in ip)), "")
        yield f"route add {_host(ip)} dev {link}{source}"


def pod_lines(ips: Sequence[str]) -> Iterator[str]:
    """The pod's own side."""
    yield "link set lo up"
    yield "link set eth0 up"
    for ip in ips:
        yield f"address add {_host(ip)} dev eth0 nodad"
        yield f"route add default via {_of_family(_POD_GATEWAY, ip)} dev eth0 onlink"


def _host(ip: str) -> str:
    return str(ip_interface(ip))


def _first(cidr: str) -> str:
    return str(ip_network(cidr)[0])


def _mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def _of_family(pair: tuple[str, str], ip: str) -> str:
    return pair[":" in ip]


def _pairs(node: NodeSettings) -> Iterator[tuple[str, str]]:
    """Each pod CIDR with the node's address of its family."""
    for cidr in node.pod_cidrs:
        yield from ((cidr, ip) for ip in node.ips if (":" in ip) == (":" in cidr))
