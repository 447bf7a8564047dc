"""A node under test, its pods and the rest of the world, out of network namespaces.

    pod ns 10.244.0.5 ---- pod0 \\
    pod ns 10.244.0.21 --- pod1 -- node ns (node IPs on eth0) ---- eth0 world ns: every other address
                                   default route --> world

- A pod has its address as a host route and the node as its gateway; the node has one route a pod. With
  `bridge`, the pods hang on a Linux bridge of that name instead (hairpin on, br_netfilter off).
- The world accepts every address as its own and sends everything that it originates to the node: remote pods,
  other nodes, outside clients, load balancer addresses are all just `bind()`. What leaves the node unchanged
  arrives there.
- Neighbours are permanent entries and no interface has an automatic address: no ARP, no duplicate address
  detection.
- No interface ever exists in the root namespace. Building takes about 30 ms, so each test has its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Self

from . import netns

__all__ = ["Topology"]

_SYSCTLS = {
    "ipv4/conf/*/rp_filter": 0,
    "ipv4/conf/*/send_redirects": 0,
    "ipv4/conf/*/accept_redirects": 0,
    "ipv6/conf/*/accept_dad": 0,
    "ipv6/conf/*/accept_ra": 0,
    "ipv6/conf/*/addr_gen_mode": 1,
}
_NODE = {
    "ipv4/ip_forward": 1,
    "ipv6/conf/all/forwarding": 1,
    "bridge/bridge-nf-call-*": 0,
    "ipv4/icmp_ratelimit": 0,  # every REJECT answers, however many there are
    "ipv4/icmp_msgs_per_sec": 1_000_000,
    "ipv4/icmp_msgs_burst": 1_000_000,
    "ipv6/icmp/ratelimit": 0,
}
_WORLD = {"ipv4/conf/*/accept_local": 1, "ipv4/ip_nonlocal_bind": 1, "ipv6/ip_nonlocal_bind": 1}
_GATEWAYS = ("169.254.1.1", "fe80::1")


def _mac(side: int, index: int) -> str:
    return f"02:00:00:{side:02x}:{index >> 8:02x}:{index & 255:02x}"


class Topology(contextlib.ExitStack):
    """Namespaces `node`, `world` and one a pod (`pods`: address -> name), wired up; a context manager that
    removes them all.

    `pod_interface` is what the host side of pod veths is called, followed by a number; `uplink` the node's
    way out. `over`: ``bridge`` if that is a bridge with eth0 as its port.
    """

    def __init__(
        self,
        node_ips: Sequence[str],
        pod_ips: Iterable[str],
        *,
        pod_interface: str = "pod",
        bridge: str = "",
        over: str = "",
    ) -> None:
        super().__init__()
        self.node_ips = tuple(node_ips)
        self.pod_ips = tuple(sorted(set(pod_ips)))
        self.uplink = "uplink" if bridge == "eth0" or "eth0".startswith(pod_interface) else "eth0"
        self._over = over
        self._pod_interface = pod_interface
        self._bridge = bridge
        self.node = self.world = ""
        self.pods: dict[str, str] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            roles = ["node", "world", *(f"pod{index}" for index in range(len(self.pod_ips)))]
            names = self.enter_context(netns.group(roles))
            self.node, self.world = names["node"], names["world"]
            self.pods = {ip: names[f"pod{index}"] for index, ip in enumerate(self.pod_ips)}
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def home(self, ip: str) -> str:
        """The namespace where `ip` lives: a pod's, the node's (its addresses, loopback) or the world."""
        if ip in self.pods:
            return self.pods[ip]
        return self.node if self.on_node(ip) else self.world

    def on_node(self, ip: str) -> bool:
        """Whether `ip` is the node's own address."""
        return ip in self.node_ips or ipaddress.ip_address(ip).is_loopback

    def place(self, namespace: str) -> str:
        """What to call a namespace in messages: ``the node``, ``the world`` or ``pod ADDRESS``."""
        for ip, name in self.pods.items():
            if name == namespace:
                return f"pod {ip}"
        return "the node" if namespace == self.node else "the world"

    def _build(self) -> None:
        for name in (self.node, self.world, *self.pods.values()):
            netns.sysctl(name, _SYSCTLS)
        ports = [f"{self._pod_interface}{index}" for index in range(len(self.pod_ips))]
        links = [_veth(self.node, self.uplink, _mac(0, 0), self.world, _mac(1, 0))]
        for index, (port, pod) in enumerate(zip(ports, self.pods.values(), strict=True), 1):
            links.append(_veth(self.node, port, _mac(0, index), pod, _mac(1, index)))
        netns.batch(links)
        netns.batch(self._node_commands(ports), self.node)
        self._build_world()
        for index, (ip, pod) in enumerate(self.pods.items(), 1):
            gateway = _mac(0, 0xFFFF) if self._bridge else _mac(0, index)
            netns.batch(
                ["link set lo up", "link set eth0 up", _address(ip, "eth0"), *_default("eth0", gateway, ip)],
                pod,
            )
        for name in (self.node, self.world, *self.pods.values()):
            netns.sysctl(name, _SYSCTLS)
        netns.sysctl(self.node, _NODE)
        netns.sysctl(self.world, _WORLD)

    def _node_commands(self, ports: Sequence[str]) -> Iterable[str]:
        yield "link set lo up"
        yield f"link set {self.uplink} up"
        if self._over == "bridge":
            yield f"link add uplink address {_mac(0, 0)} type bridge forward_delay 0 mcast_snooping 0"
            yield f"link set {self.uplink} master uplink"
            yield "link set uplink up"
            self.uplink = "uplink"
        for ip in self.node_ips:
            yield _address(ip, self.uplink)
        yield from _default(self.uplink, _mac(1, 0))
        if self._bridge:
            options = "type bridge forward_delay 0 mcast_snooping 0"
            yield f"link add {self._bridge} address {_mac(0, 0xFFFF)} {options}"
            yield f"link set {self._bridge} up"
        for index, (port, ip) in enumerate(zip(ports, self.pod_ips, strict=True), 1):
            if self._bridge:
                yield f"link set {port} master {self._bridge}"
                yield f"link set {port} type bridge_slave hairpin on"
            yield f"link set {port} up"
            device = self._bridge or port
            yield f"neigh add {ip} lladdr {_mac(1, index)} dev {device} nud permanent"
            yield f"route add {ip} dev {device}"

    def _build_world(self) -> None:
        links = ["link set lo up", "link set eth0 up", *_default("eth0", _mac(0, 0), table=" table 100")]
        netns.batch(
            [
                *links,
                *(f"route add local {everything} dev lo table local" for everything in ("0.0.0.0/0", "::/0")),
            ],
            self.world,
        )
        # what the world says goes to the node, even between two of its own addresses
        for flag in ("-4", "-6"):
            netns.batch(
                ["rule add pref 10 iif lo lookup 100", "rule add pref 20 lookup local", "rule del pref 0"],
                self.world,
                flag,
            )


def _veth(node: str, port: str, port_mac: str, peer: str, peer_mac: str) -> str:
    other_end = f"peer name eth0 address {peer_mac} netns {peer}"
    return f"link add name {port} address {port_mac} netns {node} type veth {other_end}"


def _address(ip: str, device: str) -> str:
    return f"addr add {ip}/128 dev {device} nodad" if ":" in ip else f"addr add {ip}/32 dev {device}"


def _default(device: str, gateway_mac: str, ip: str = "", table: str = "") -> Iterable[str]:
    """Default routes of `ip`'s family (of both without one) through whoever has `gateway_mac`."""
    for gateway in _GATEWAYS:
        if not ip or (":" in ip) == (":" in gateway):
            yield f"neigh add {gateway} lladdr {gateway_mac} dev {device} nud permanent"
            yield f"route add default via {gateway} dev {device} onlink{table}"
