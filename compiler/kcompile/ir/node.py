"""The node (facts) and the user's settings for it; free of Kubernetes and of any kernel."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["Compat", "DetectMode", "Detector", "Ipvs", "Link", "NodeFacts", "Settings", "Xdp"]


class DetectMode(enum.Enum):
    """How to detect local pod traffic (KubeProxyConfiguration detectLocalMode;
    pkg/proxy/util/localdetector.go).
    """

    NONE = ""
    CLUSTER_CIDR = "ClusterCIDR"
    NODE_CIDR = "NodeCIDR"
    BRIDGE_INTERFACE = "BridgeInterface"
    INTERFACE_NAME_PREFIX = "InterfaceNamePrefix"


class Detector(msgspec.Struct, frozen=True, gc=False):
    """The local-traffic detector, resolved: one CIDR a family, or an interface name or name prefix."""

    mode: DetectMode = DetectMode.NONE
    cidr4: str = ""
    cidr6: str = ""
    interface: str = ""

    def cidr(self, version: int) -> str:
        """The pod CIDR of IP `version` (4 or 6), empty where this mode or family has none."""
        return self.cidr4 if version == 4 else self.cidr6

    def active(self, version: int) -> bool:
        """False when nothing counts as a local pod in this family."""
        return bool(self.interface) or bool(self.cidr(version))


class Compat(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The differences between kube-proxy's own modes, one field each (docs/reference/modes.md)."""

    reject_unknown_ports: bool  # a live ClusterIP, a port that no Service has: REJECT, or leave alone
    drop_unallocated: bool  # an address of a ServiceCIDR that no Service owns: DROP, or leave alone
    localhost_node_ports: bool  # IPv4 NodePorts answer on 127.0.0.0/8 too
    primary_node_ports: (
        bool  # empty nodePortAddresses means the Node's own addresses, not every local address
    )
    reject_host_to_empty_external: (
        bool  # the node's own packet to an external IP without endpoints: REJECT, or let it out
    )
    ranges_guard_empty: (
        bool  # source ranges hold without endpoints too: barred sources dropped, or all rejected alike
    )

    @classmethod
    def of(cls, name: str) -> Compat:
        """The record of kube-proxy's mode `name` (``iptables`` or ``nftables``)."""
        nft = {"iptables": False, "nftables": True}[name]
        return cls(
            reject_unknown_ports=nft,
            drop_unallocated=nft,
            localhost_node_ports=not nft,
            primary_node_ports=nft,
            reject_host_to_empty_external=nft,
            ranges_guard_empty=nft,
        )


class Link(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A network interface of the node. `addresses` are its global ones, both families.

    `kind` is rtnetlink's (``veth``, ``bridge``, ...; empty for hardware), `upper` that of the interface which
    has enslaved it. `ethernet`: its packets have an Ethernet header (loopback's too); `bare`: they begin with
    that of IP. `peer_elsewhere`: a veth whose other end is in another namespace. `native_xdp`: its driver
    runs XDP programs; None where the kernel can't say (before 6.3).
    """

    name: str
    kind: str = ""
    upper: str = ""
    loopback: bool = False
    ethernet: bool = True
    bare: bool = False
    peer_elsewhere: bool = False
    native_xdp: bool | None = None
    addresses: tuple[str, ...] = ()


class NodeFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """This node. `addresses` are its own (both families), the primary one of each family first.

    `interfaces` are all addresses that its interfaces have, where that is known; `links` the interfaces,
    asked for by mode xdp alone. `node_ports4`/`node_ports6`: the addresses that NodePorts answer on; None:
    every local address. `route_localnet`: IPv4 NodePorts must work on loopback, so the sysctl and its
    anti-martian rule are needed.
    """

    name: str = ""
    zone: str = ""
    addresses: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    node_ports4: tuple[str, ...] | None = None
    node_ports6: tuple[str, ...] | None = None
    route_localnet: bool = False

    def node_ports(self, version: int) -> tuple[str, ...] | None:
        return self.node_ports4 if version == 4 else self.node_ports6


class Ipvs(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What only mode ipvs asks (KubeProxyIPVSConfiguration).

    Virtual servers in `excluded` CIDRs that no Service has are left alone.

    `timeouts`: seconds of ``tcp``, ``tcpfin`` and ``udp`` where the node's own aren't wanted.
    """

    scheduler: str = "rr"
    strict_arp: bool = False
    excluded: tuple[str, ...] = ()
    timeouts: tuple[tuple[str, int], ...] = ()


class Xdp(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What only mode xdp asks.

    `attach`: ``native``, ``generic`` or ``auto`` XDP on the node's own interfaces. `sockets`: whose connect()
    is led to a backend, ``tcp``, ``all`` or ``off``, in `cgroup` (a cgroup2 directory; empty: the root).
    `balance`: ``maglev`` or ``random``. `capacities`: (map, entries) where the layout's own number won't do.
    """

    attach: str = "auto"
    sockets: str = "tcp"
    cgroup: str = ""
    balance: str = "maglev"
    capacities: tuple[tuple[str, int], ...] = ()


class Settings(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How the dataplane is to be run. `service_cidrs` both families; `masquerade_mark` is one bit.

    `flowtable`: shell patterns of the interfaces whose established connections skip the hooks; empty: none.
    """

    compat: Compat
    detector: Detector = Detector()
    masquerade_all: bool = False
    masquerade_mark: int = 0x4000
    service_cidrs: tuple[str, ...] = ()
    drop_invalid: bool = True
    sysctls: tuple[tuple[str, str], ...] = ()
    ipvs: Ipvs = Ipvs()
    xdp: Xdp = Xdp()
    flowtable: tuple[str, ...] = ()
