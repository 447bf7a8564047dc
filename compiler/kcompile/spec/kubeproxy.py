"""The documents that a configuration file may hold, field by field.

`KubeProxyConfiguration` is k8s.io/kube-proxy/config/v1alpha1 of Kubernetes 1.36, whole.
`CompilerConfiguration` is kcompile's own short form. Of kubeadm's `ClusterConfiguration` only what a
dataplane needs is here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .fieldtypes import (
    Cidr,
    CidrPair,
    Domain,
    HealthzAddress,
    Interface,
    IpText,
    MetricsAddress,
    NodeName,
    NodePortAddress,
    PortRange,
    PortRangeText,
    Seconds,
)

__all__ = [
    "ClusterConfiguration",
    "CompilerConfiguration",
    "ConntrackSection",
    "IptablesSection",
    "IpvsSection",
    "KubeProxyConfiguration",
    "NftablesSection",
]

Bit = Annotated[int, Meta(ge=0, le=31)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
_DETECT = Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]


class _Document(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    pass


class IptablesSection(_Document, frozen=True):
    masquerade_bit: Bit | None = None
    masquerade_all: bool = False
    localhost_node_ports: bool | None = None
    sync_period: Seconds = Seconds(0)
    min_sync_period: Seconds = Seconds(0)


class NftablesSection(_Document, frozen=True):
    masquerade_bit: Bit | None = None
    masquerade_all: bool = False
    sync_period: Seconds = Seconds(0)
    min_sync_period: Seconds = Seconds(0)


class IpvsSection(_Document, frozen=True):
    sync_period: Seconds = Seconds(0)
    min_sync_period: Seconds = Seconds(0)
    scheduler: str = ""
    exclude_cidrs: list[Cidr] = msgspec.field(default=[], name="excludeCIDRs")
    strict_arp: bool = msgspec.field(default=False, name="strictARP")
    tcp_timeout: Seconds = Seconds(0)
    tcp_fin_timeout: Seconds = Seconds(0)
    udp_timeout: Seconds = Seconds(0)


class ConntrackSection(_Document, frozen=True):
    """None or 0: the node's own value stays."""

    max_per_core: Count | None = None
    min: Count | None = None
    tcp_established_timeout: Seconds | None = None
    tcp_close_wait_timeout: Seconds | None = None
    tcp_be_liberal: bool = False
    udp_timeout: Seconds = Seconds(0)
    udp_stream_timeout: Seconds = Seconds(0)


class _DetectLocal(_Document, frozen=True):
    bridge_interface: Interface = Interface()
    interface_name_prefix: Interface = Interface()


class _ClientConnection(_Document, frozen=True):
    kubeconfig: str = ""
    accept_content_types: str = ""
    content_type: str = ""
    qps: float = 0
    burst: Count = 0


class KubeProxyConfiguration(_Document, frozen=True):
    api_version: str
    kind: str
    feature_gates: dict[str, bool] = {}
    client_connection: _ClientConnection = _ClientConnection()
    logging: dict[str, Any] = {}
    hostname_override: NodeName = NodeName()
    bind_address: IpText = IpText()
    healthz_bind_address: HealthzAddress = HealthzAddress()
    metrics_bind_address: MetricsAddress = MetricsAddress()
    bind_address_hard_fail: bool = False
    enable_profiling: bool = False
    show_hidden_metrics_for_version: str = ""
    mode: str = ""
    iptables: IptablesSection = IptablesSection()
    ipvs: IpvsSection = IpvsSection()
    nftables: NftablesSection = NftablesSection()
    winkernel: dict[str, Any] = {}
    detect_local_mode: _DETECT = ""
    detect_local: _DetectLocal = _DetectLocal()
    cluster_cidr: CidrPair = msgspec.field(default=CidrPair(), name="clusterCIDR")
    node_port_addresses: list[NodePortAddress] = []
    oom_score_adj: Annotated[int, Meta(ge=-1000, le=1000)] | None = None
    conntrack: ConntrackSection = ConntrackSection()
    config_sync_period: Seconds = Seconds(0)
    port_range: PortRangeText = PortRangeText()
    windows_run_as_service: bool = False


class _ShortDetectLocal(_Document, frozen=True):
    mode: Literal["None", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]
    cidrs: list[Cidr] = []
    interface_name_prefix: Interface = Interface()
    bridge_interface: Interface = Interface()


class CompilerConfiguration(_Document, frozen=True):
    """What isn't given leaves the KubeProxyConfiguration's value, or the default, in force."""

    api_version: str = ""
    kind: str = ""
    mode: str | UnsetType = UNSET
    compat: str | UnsetType = UNSET
    hostname_override: NodeName | UnsetType = UNSET
    detect_local: _ShortDetectLocal | UnsetType = UNSET
    node_port_range: PortRange | UnsetType = UNSET
    node_port_addresses: list[NodePortAddress] | UnsetType = UNSET
    masquerade_all: bool | UnsetType = UNSET
    masquerade_bit: Bit | UnsetType = UNSET
    service_cidrs: list[Cidr] | UnsetType = msgspec.field(default=UNSET, name="serviceCIDRs")
    cluster_domain: Domain | UnsetType = UNSET
    localhost_node_ports: bool | UnsetType = UNSET
    fast_path: str | UnsetType = UNSET
    fast_path_devices: list[str] | UnsetType = UNSET


class _Networking(_Document, frozen=True):
    service_subnet: CidrPair = CidrPair()
    pod_subnet: CidrPair = CidrPair()
    dns_domain: Domain = Domain()


class _ApiServer(_Document, frozen=True):
    extra_args: Any = None


class ClusterConfiguration(_Document, frozen=True):
    """kubeadm.k8s.io, any version: what it says of the cluster's addresses, ports and domain."""

    networking: _Networking = _Networking()
    api_server: _ApiServer = _ApiServer()
