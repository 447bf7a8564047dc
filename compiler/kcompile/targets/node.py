"""Resources that a mode needs beside its rules: sysctls, timeouts, health check ports and the flowtable.

SysctlKey(name)   -> value, both str       sysctl.conf(5) names
TimeoutKey(name)  -> seconds, both str     tcp, tcpfin and udp of ``ipvsadm --set``
HealthKey(port)   -> HealthCheck           answered by kernel/health.py
and those of flowtable.py
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..ir.model import Dataplane
from ..program import Key
from . import flowtable

__all__ = [
    "SYSCTLS",
    "TIMEOUTS",
    "HealthKey",
    "SysctlKey",
    "TimeoutKey",
    "ValueKey",
    "describe_node",
    "is_flowtable",
    "is_node_resource",
    "lower_node",
]


class ValueKey(Key, frozen=True, gc=False):
    """A sysctl or timeout: its value from before the first apply is restored."""

    name: str


class SysctlKey(ValueKey, frozen=True, gc=False):
    kind: ClassVar[str] = "sysctl"


class TimeoutKey(ValueKey, frozen=True, gc=False):
    kind: ClassVar[str] = "ipvs timeout"


class HealthKey(Key, frozen=True, gc=False):
    kind: ClassVar[str] = "health"
    port: int


# ipvs/proxier.go: connections whose real server is removed end at once; masquerading needs conntrack
_IPVS = (
    ("conntrack", "1"),
    ("conn_reuse_mode", "1"),
    ("expire_nodest_conn", "1"),
    ("expire_quiescent_template", "1"),
)
_LOOPBACK = (("accept_local", "1"), ("rp_filter", "2"))
_STRICT_ARP = (("arp_ignore", "1"), ("arp_announce", "2"))
_FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
_ROUTE_LOCALNET = "net.ipv4.conf.all.route_localnet"
_CONNTRACK = (
    "max",
    "tcp_be_liberal",
    "tcp_timeout_established",
    "tcp_timeout_close_wait",
    "udp_timeout",
    "udp_timeout_stream",
)

SYSCTLS = frozenset(
    [
        *_FORWARDING,
        _ROUTE_LOCALNET,
        *(f"net.ipv4.vs.{name}" for name, _ in _IPVS),
        *(f"net.ipv4.conf.lo.{name}" for name, _ in _LOOPBACK),
        *(f"net.ipv4.conf.all.{name}" for name, _ in _STRICT_ARP),
        *(f"net.netfilter.nf_conntrack_{name}" for name in _CONNTRACK),
    ]
)
"""Every sysctl that kcompile sets, and restores."""

TIMEOUTS = ("tcp", "tcpfin", "udp")
"""The timeouts of IPVS that kcompile sets, and restores."""


def lower_node(dataplane: Dataplane, mode: str = "") -> dict[Key, Any]:
    """The node resources of `dataplane` in `mode`: forwarding for the families in use, route_localnet for
    NodePorts on loopback, and the settings of the mode.

    A family with possibly open connections (Dataplane.standing) is in use too. Mode ipvs never sets
    route_localnet: it can't serve NodePorts on loopback (crosses_local_route_boundary() in ip_vs_xmit.c).
    """
    program: dict[Key, Any] = {}
    versions = {p.family.value for p in dataplane.ports} | set(dataplane.standing)
    if 4 in versions:
        program[SysctlKey(_FORWARDING[0])] = "1"
    if 6 in versions:
        program[SysctlKey(_FORWARDING[1])] = "1"
    if mode == "ipvs":
        if versions:
            program |= {SysctlKey(f"net.ipv4.vs.{name}"): value for name, value in _IPVS}
            program |= {TimeoutKey(name): str(seconds) for name, seconds in dataplane.settings.ipvs.timeouts}
        if dataplane.settings.ipvs.strict_arp:
            program |= {SysctlKey(f"net.ipv4.conf.all.{name}"): value for name, value in _STRICT_ARP}
    elif mode == "xdp":
        # answers to the node's own sockets arrive on loopback, with an address of the node as their source.
        # rp_filter 2, not 0: the larger of lo's value and all's counts, and that may be 1
        if versions:
            program |= {SysctlKey(f"net.ipv4.conf.lo.{name}"): value for name, value in _LOOPBACK}
    elif dataplane.node.route_localnet:
        program[SysctlKey(_ROUTE_LOCALNET)] = "1"
    for name, value in dataplane.settings.sysctls:
        program[SysctlKey(name)] = value
    for check in dataplane.health_checks:
        program[HealthKey(check.port)] = check
    return program | flowtable.lower_flowtable(dataplane, mode)


def is_node_resource(key: Key) -> bool:
    return isinstance(key, ValueKey | HealthKey) or is_flowtable(key)


def is_flowtable(key: Key) -> bool:
    return isinstance(key, flowtable.FlowtableKey | flowtable.FlowtableDeviceKey)


def describe_node(key: Key, value: Any) -> str:
    """The resource on one line."""
    if isinstance(key, ValueKey):
        return f"{key.kind} {key.name} = {value}"
    if is_flowtable(key):
        return flowtable.describe(key, value)
    assert isinstance(key, HealthKey)
    service = f"Service {value.namespace}/{value.service}"
    return f"health check port {key.port}: {service}, {value.local_endpoints} local endpoints"
