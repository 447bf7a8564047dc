"""A `Config` and what the input says of the cluster to the IR's Settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import msgspec

from ..errors import ConfigError
from ..ir.node import Compat, DetectMode, Detector, Ipvs, Settings
from .addresses import canonical_cidr, family_of
from .cluster import settings_of
from .config import Config
from .kubeproxy import ConntrackSection, IpvsSection
from .objects import Node, ServiceCIDR
from .text import shown

__all__ = ["compat_of", "settings"]

_FOLLOWED = {"iptables": "iptables"}  # the kube-proxy mode that a mode follows; else nftables
# dev_valid_name() in net/core/dev.c, and what fnmatch(3) has beside
_PATTERN = re.compile(r"[^\s/:\"]{1,15}")
_DEFAULT_BIT = 14  # KUBE-MARK-MASQ's 0x4000


def compat_of(config: Config, mode: str = "", compat: str = "") -> Compat:
    """The Compat of the kube-proxy mode to follow: `--compat`, else that of `mode`; kcompile's own modes
    follow nftables.
    """
    name = compat or config.compat or _FOLLOWED.get(mode or config.mode, "nftables")
    if name not in ("iptables", "nftables"):
        raise ConfigError(f"compat: {shown(name)} is not one of iptables, nftables")
    record = Compat.of(name)
    return (
        record if config.localhost_node_ports else msgspec.structs.replace(record, localhost_node_ports=False)
    )


def settings(
    config: Config,
    node: Node | None = None,
    service_cidrs: Iterable[ServiceCIDR] = (),
    *,
    mode: str = "",
    compat: str = "",
    cpus: int | None = None,
) -> Settings:
    """The Settings for `mode` (empty: the config's). `cpus`: the factor of conntrack.maxPerCore, by default
    this machine's.
    """
    mode = mode or config.mode
    section = config.section(mode)
    bit = section.masquerade_bit if config.masquerade_bit is None else config.masquerade_bit
    return Settings(
        compat=compat_of(config, mode, compat),
        detector=_detector(config, node),
        masquerade_all=section.masquerade_all if config.masquerade_all is None else config.masquerade_all,
        masquerade_mark=1 << (_DEFAULT_BIT if bit is None else bit),
        service_cidrs=settings_of(config, service_cidrs).service_cidrs,
        drop_invalid=not config.conntrack.tcp_be_liberal,
        sysctls=_sysctls(config.conntrack, cpus or os.cpu_count() or 1),
        flowtable=_flowtable(config),
        ipvs=Ipvs(
            scheduler=config.ipvs.scheduler or "rr",
            strict_arp=config.ipvs.strict_arp,
            excluded=tuple(map(canonical_cidr, config.ipvs.exclude_cidrs)),
            timeouts=_timeouts(config.ipvs),
        ),
    )


def _flowtable(config: Config) -> tuple[str, ...]:
    """The patterns of its interfaces."""
    patterns = config.fast_path_devices
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigError(f"--fast-path-device: {shown(pattern)} can't be the name of an interface")
    if config.fast_path != "flowtable":
        if patterns:
            raise ConfigError("--fast-path-device needs --fast-path flowtable")
        return ()
    return patterns or ("*",)


def _detector(config: Config, node: Node | None) -> Detector:
    """getLocalDetectors of cmd/kube-proxy/app/server_linux.go: the first CIDR of each family counts."""
    mode = config.detect_mode
    if mode in (DetectMode.BRIDGE_INTERFACE, DetectMode.INTERFACE_NAME_PREFIX):
        return Detector(mode=mode, interface=config.detect_interface)
    if mode is DetectMode.CLUSTER_CIDR:
        return _by_cidr(mode, config.detect_cidrs)
    if mode is DetectMode.NODE_CIDR:
        cidrs = config.detect_cidrs or pod_cidrs(node)
        if not cidrs:
            needs = "a Node with podCIDRs in the input, or --pod-cidr"
            raise ConfigError(f"{config.source}: detectLocal: NodeCIDR needs {needs}")
        return _by_cidr(mode, cidrs)
    return Detector()


def pod_cidrs(node: Node | None) -> tuple[str, ...]:
    """The Node's pod CIDRs, canonical."""
    spec = node.spec if node else None
    if spec is None:
        return ()
    return tuple(
        canonical_cidr(cidr.strip()) for cidr in spec.pod_cidrs or ([spec.pod_cidr] if spec.pod_cidr else [])
    )


def _by_cidr(mode: DetectMode, cidrs: tuple[str, ...]) -> Detector:
    first = {family: next((cidr for cidr in cidrs if family_of(cidr) == family), "") for family in (4, 6)}
    return Detector(mode=mode, cidr4=first[4], cidr6=first[6])


def _timeouts(ipvs: IpvsSection) -> tuple[tuple[str, int], ...]:
    """As netlink_linux.go of moby/ipvs sends them: whole seconds, 0 leaves what is."""
    given = (("tcp", ipvs.tcp_timeout), ("tcpfin", ipvs.tcp_fin_timeout), ("udp", ipvs.udp_timeout))
    return tuple((name, int(seconds)) for name, seconds in given if int(seconds))


def _sysctls(conntrack: ConntrackSection, cpus: int) -> tuple[tuple[str, str], ...]:
    """The sysctls that the file sets explicitly, as pkg/proxy/conntrack/sysctls.go writes them; kube-proxy's
    defaults aren't set.
    """
    found: list[tuple[str, int]] = []
    if conntrack.max_per_core:
        found.append(("nf_conntrack_max", max(conntrack.max_per_core * cpus, conntrack.min or 0)))
    for name, seconds in (
        ("tcp_timeout_established", conntrack.tcp_established_timeout),
        ("tcp_timeout_close_wait", conntrack.tcp_close_wait_timeout),
        ("udp_timeout", conntrack.udp_timeout),
        ("udp_timeout_stream", conntrack.udp_stream_timeout),
    ):
        if seconds:
            found.append((f"nf_conntrack_{name}", int(seconds)))
    if conntrack.tcp_be_liberal:
        found.append(("nf_conntrack_tcp_be_liberal", 1))
    return tuple((f"net.netfilter.{name}", str(value)) for name, value in found)
