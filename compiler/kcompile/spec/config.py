"""A configuration file to a `Config`: kube-proxy's, kcompile's short form, kubeadm's, or several of them.

Where more than one says something, the short form wins over the KubeProxyConfiguration, and that over
kubeadm's ClusterConfiguration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from ..errors import ConfigError
from ..ir.node import DetectMode
from .addresses import family_of
from .allocate import DEFAULT_NODE_PORT_RANGE
from .check_service import SCHEDULERS
from .config_fields import Findings, read_struct, warn_unknown
from .config_files import Document, documents
from .decode import without_nulls
from .fieldtypes import PortRange, decode_field
from .kubeproxy import (
    ClusterConfiguration,
    CompilerConfiguration,
    ConntrackSection,
    IptablesSection,
    IpvsSection,
    KubeProxyConfiguration,
    NftablesSection,
)
from .reader import STDIN, Unreadable, check_text, read
from .text import Wrong, printable, shown

__all__ = ["Config", "load_config"]

_MAX_BYTES = 4 << 20
_MODES = ("", "iptables", "nftables", "ipvs", "xdp")
# Fields of a KubeProxyConfiguration that nothing here reads, with the values that kube-proxy has for them
# anyway.
_UNUSED: dict[str, tuple[Any, ...]] = {
    "featureGates": (),
    "clientConnection.acceptContentTypes": (),
    "clientConnection.contentType": ("application/vnd.kubernetes.protobuf",),
    "clientConnection.qps": (5,),
    "clientConnection.burst": (10,),
    "logging": (),
    "bindAddress": ("0.0.0.0", "::"),
    "bindAddressHardFail": (),
    "enableProfiling": (),
    "showHiddenMetricsForVersion": (),
    "winkernel": (),
    "oomScoreAdj": (-999,),
    "configSyncPeriod": ("15m", "15m0s"),
    "portRange": (),
    "windowsRunAsService": (),
}
_LOGGING_DEFAULTS = ("text", "5s", 5_000_000_000)
# Fields that a KubeProxyConfiguration had before 1.36, and files still have.
_RETIRED = ("udpIdleTimeout", "resourceContainer", "conntrack.max")
_SYNC_PERIOD = 30  # seconds; kube-proxy's, where none is set
_FAST_PATHS = ("flowtable", "off")
_NODE_PORT_RANGE = "service-node-port-range"  # the API server's option

# ip_vs_set_timeout(): as many ticks as a signed int can count, where the kernel has 1000 a second
_LONGEST = (2**31 - 1) // 1000

_T = TypeVar("_T")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a file can set.

    Addresses and CIDRs are canonical, durations seconds; `warnings` names fields without effect here.

    `masquerade_all` and `masquerade_bit` are None where only the section of a mode says (see `settings`).
    """

    source: str = ""
    mode: str = ""
    compat: str = ""
    hostname: str = ""
    kubeconfig: str = ""
    detect_mode: DetectMode = DetectMode.NONE
    detect_cidrs: tuple[str, ...] = ()
    detect_interface: str = ""
    node_port_range: tuple[int, int] = DEFAULT_NODE_PORT_RANGE
    node_port_addresses: tuple[str, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    pod_cidrs: tuple[str, ...] = ()
    cluster_domain: str = ""
    masquerade_all: bool | None = None
    masquerade_bit: int | None = None
    localhost_node_ports: bool = True
    fast_path: str = ""
    fast_path_devices: tuple[str, ...] = ()
    iptables: IptablesSection = IptablesSection()
    nftables: NftablesSection = NftablesSection()
    ipvs: IpvsSection = IpvsSection()
    conntrack: ConntrackSection = ConntrackSection()
    healthz_bind_address: str = ""
    metrics_bind_address: str = ""
    warnings: tuple[str, ...] = ()

    def section(self, mode: str) -> IptablesSection | NftablesSection:
        """The section for `mode`: nftables has its own, the other modes share that of iptables, as in
        kube-proxy.
        """
        return {"nftables": self.nftables}.get(mode, self.iptables)


def load_config(path: str, pod_cidrs: Sequence[str] = ()) -> Config:
    """Read `path` (``-`` is standard input); `pod_cidrs` stand above those of the file.

    A file without any document gives the defaults.

    Raises ConfigError with everything that is wrong, each with document and field.
    """
    findings = Findings(printable(STDIN if path == "-" else path))
    found: dict[type[Any], _Found] = {}
    try:
        for document in documents(check_text(read(path, None, _MAX_BYTES))):
            if document.form in found:
                raise Wrong(f"a second {document.form.__name__}", field=document.where)
            found[document.form] = _read(document, findings)
    except Unreadable as error:
        raise ConfigError(f"{findings.source}: {error.message}") from None
    except Wrong as error:
        where = f"document {error.document}" if error.document else ""
        raise ConfigError(
            ": ".join(part for part in (findings.source, where, error.field, error.message) if part)
        ) from None
    config = _merged(found, findings, tuple(pod_cidrs))
    findings.refuse()
    return msgspec.structs.replace(config, pod_cidrs=tuple(pod_cidrs)) if pod_cidrs else config


class _Found(msgspec.Struct):
    """A document that was read; `value` has the defaults for fields that are wrong."""

    where: str
    value: Any


def _read(document: Document, findings: Findings) -> _Found:
    """As kube-proxy reads its own and kubeadm its: unknown fields and keys that occur twice are warnings.

    kcompile's own form is strict.
    """
    where, form, value, duplicates = document
    for twice in duplicates:
        if form is CompilerConfiguration:
            findings.wrong(where, twice.field, twice.message)
        else:
            findings.warn(twice.field, f"{twice.message}; the last one counts")
    if form is KubeProxyConfiguration:
        warn_unknown(form, value, findings, _RETIRED)
        if unused := list(_unused(without_nulls(value))):
            findings.warn(", ".join(unused), "not used by kcompile")
    read = read_struct(form, without_nulls(value), findings, where, strict=form is CompilerConfiguration)
    return _Found(where, _default(form) if read is None else read)


def _default(form: type[Any]) -> Any:
    return form(api_version="", kind="") if form is KubeProxyConfiguration else form()


def _unused(document: Any, prefix: str = "") -> Iterator[str]:
    """The unused fields whose value isn't kube-proxy's default: kubeadm writes out every field."""
    for key, value in document.items():
        field = prefix + key
        if field in _UNUSED:
            if not _is_empty(value) and value not in _UNUSED[field]:
                yield field
        elif isinstance(value, dict) and not prefix:
            yield from _unused(value, f"{field}.")


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_empty(inner) for inner in value.values())
    return value in ("", 0, False, None, "0", "0s", [], *_LOGGING_DEFAULTS)


def _merged(found: dict[type[Any], _Found], findings: Findings, pod_cidrs: tuple[str, ...]) -> Config:
    proxy, short, cluster = (
        found.get(form) or _Found("", _default(form))
        for form in (KubeProxyConfiguration, CompilerConfiguration, ClusterConfiguration)
    )
    _check(proxy.value, proxy.where, findings)
    _check(short.value, short.where, findings)
    kubeadm = _from_kubeadm(cluster.value, cluster.where, findings)
    return _layered(
        short.value,
        proxy.value,
        kubeadm,
        findings,
        _detector(short, proxy, kubeadm.pods, pod_cidrs, findings),
    )


class _Kubeadm(msgspec.Struct):
    """The settings of a ClusterConfiguration: empty or None where it has none."""

    services: tuple[str, ...]
    pods: tuple[str, ...]
    domain: str
    node_ports: PortRange | None


def _from_kubeadm(form: ClusterConfiguration, where: str, findings: Findings) -> _Kubeadm:
    node_ports = None
    text = _extra_argument(form.api_server.extra_args, _NODE_PORT_RANGE)
    if text is not None:
        try:
            node_ports = decode_field(PortRange, text)
        except ValueError as error:
            findings.wrong(where, f"apiServer.extraArgs.{_NODE_PORT_RANGE}", str(error))
    networking = form.networking
    return _Kubeadm(networking.service_subnet, networking.pod_subnet, networking.dns_domain, node_ports)


def _extra_argument(arguments: Any, name: str) -> Any:
    """The value of an argument of a component: v1beta3 has a mapping of them, v1beta4 a list of names and
    values.
    """
    if isinstance(arguments, dict):
        return arguments.get(name)
    for each in arguments if isinstance(arguments, list) else ():
        if isinstance(each, dict) and each.get("name") == name:
            return each.get("value")
    return None


_Detect = tuple[DetectMode, tuple[str, ...], str]


def _layered(
    short: CompilerConfiguration,
    proxy: KubeProxyConfiguration,
    kubeadm: _Kubeadm,
    findings: Findings,
    detect: _Detect,
) -> Config:
    return Config(
        source=findings.source,
        mode=_first(short.mode, proxy.mode),
        compat=_first(short.compat, ""),
        hostname=_first(short.hostname_override, proxy.hostname_override),
        kubeconfig=proxy.client_connection.kubeconfig,
        detect_mode=detect[0],
        detect_cidrs=detect[1],
        detect_interface=detect[2],
        node_port_range=_first(short.node_port_range, kubeadm.node_ports or DEFAULT_NODE_PORT_RANGE),
        node_port_addresses=tuple(_first(short.node_port_addresses, proxy.node_port_addresses)),
        service_cidrs=tuple(_first(short.service_cidrs, kubeadm.services)),
        pod_cidrs=_pod_cidrs(short, proxy, kubeadm),
        cluster_domain=_first(short.cluster_domain, kubeadm.domain),
        masquerade_all=_first(short.masquerade_all, None),
        masquerade_bit=_first(short.masquerade_bit, None),
        localhost_node_ports=_first(short.localhost_node_ports, proxy.iptables.localhost_node_ports)
        is not False,
        fast_path=_first(short.fast_path, ""),
        fast_path_devices=tuple(_first(short.fast_path_devices, ())),
        iptables=proxy.iptables,
        nftables=proxy.nftables,
        ipvs=proxy.ipvs,
        conntrack=proxy.conntrack,
        healthz_bind_address=proxy.healthz_bind_address,
        metrics_bind_address=proxy.metrics_bind_address,
        warnings=tuple(findings.warnings),
    )


def _pod_cidrs(
    short: CompilerConfiguration, proxy: KubeProxyConfiguration, kubeadm: _Kubeadm
) -> tuple[str, ...]:
    """The pod CIDRs of the cluster, whether or not the detector uses them."""
    local = short.detect_local
    own = tuple(local.cidrs) if local is not UNSET else ()
    return own or proxy.cluster_cidr or kubeadm.pods


def _first(short: Any, proxy: _T) -> _T:
    """The short form's value where it is set. `Any`: both forms hold the same type, one of them or UNSET."""
    return proxy if short is UNSET else short


def _check(form: KubeProxyConfiguration | CompilerConfiguration, where: str, findings: Findings) -> None:
    """Check what the type of a field can't express."""
    modes = _MODES[:-1] if isinstance(form, KubeProxyConfiguration) else _MODES
    if form.mode is not UNSET and form.mode not in modes:
        findings.wrong(where, "mode", f"{shown(form.mode)} is not one of {', '.join(modes[1:])}")
    addresses = form.node_port_addresses
    if addresses is not UNSET and "primary" in addresses and len(addresses) > 1:
        findings.wrong(where, "nodePortAddresses", "'primary' stands alone or not at all")
    if isinstance(form, KubeProxyConfiguration):
        _check_proxy(form, where, findings)
        return
    if form.compat not in (UNSET, "", "iptables", "nftables"):
        findings.wrong(where, "compat", f"{shown(form.compat)} is not one of iptables, nftables")
    if form.fast_path not in (UNSET, "", *_FAST_PATHS):
        findings.wrong(where, "fastPath", f"{shown(form.fast_path)} is not one of {', '.join(_FAST_PATHS)}")


def _check_proxy(form: KubeProxyConfiguration, where: str, findings: Findings) -> None:
    """The rest of pkg/proxy/apis/config/validation.

    Sections of other modes are checked too: --mode may choose them.
    """
    if form.ipvs.scheduler not in ("", *SCHEDULERS):
        findings.wrong(where, "ipvs.scheduler", f"{shown(form.ipvs.scheduler)} is not a scheduler of IPVS")
    given = {
        "tcpTimeout": form.ipvs.tcp_timeout,
        "tcpFinTimeout": form.ipvs.tcp_fin_timeout,
        "udpTimeout": form.ipvs.udp_timeout,
    }
    for field, seconds in given.items():
        if seconds > _LONGEST:
            findings.wrong(where, f"ipvs.{field}", f"more than {_LONGEST} seconds")
    name = form.mode if form.mode in ("ipvs", "nftables") else "iptables"
    section: IptablesSection | NftablesSection | IpvsSection = getattr(form, name)
    if section.min_sync_period > (section.sync_period or _SYNC_PERIOD):
        findings.wrong(where, f"{name}.syncPeriod", f"must not be shorter than {name}.minSyncPeriod")
    cidrs = form.cluster_cidr
    families = {family_of(cidr) for cidr in cidrs}
    if form.detect_local_mode in ("", "ClusterCIDR") and len(families) < len(cidrs):
        findings.wrong(where, "clusterCIDR", "must be one CIDR, or one of each family")


def _detector(
    short: _Found,
    proxy: _Found,
    kubeadm_pods: tuple[str, ...],
    pod_cidrs: tuple[str, ...],
    findings: Findings,
) -> _Detect:
    """The detector of local pods: from the command line's `pod_cidrs` where given, else from the file.

    After SetDefaults_KubeProxyConfiguration: a clusterCIDR without a mode is mode ClusterCIDR. kubeadm puts
    its podSubnet there.
    """
    form, local = proxy.value, short.value.detect_local
    cidrs = form.cluster_cidr or kubeadm_pods
    own = local is not UNSET
    if own:
        mode = DetectMode.NONE if local.mode == "None" else DetectMode(local.mode)
        cidrs = tuple(local.cidrs) or cidrs
    else:
        local = form.detect_local
        mode = DetectMode(form.detect_local_mode or ("ClusterCIDR" if cidrs else ""))
    if mode is DetectMode.NODE_CIDR:
        return mode, pod_cidrs, ""
    if pod_cidrs:
        return DetectMode.CLUSTER_CIDR, pod_cidrs, ""
    where = short.where if own else proxy.where
    if mode is DetectMode.CLUSTER_CIDR and not cidrs:
        if own:
            findings.wrong(
                where, "detectLocal", "detecting by ClusterCIDR needs the cluster's CIDRs (--pod-cidr)"
            )
        else:  # kube-proxy goes on without a detector too
            findings.warn("detectLocalMode", "ClusterCIDR without a clusterCIDR detects nothing (--pod-cidr)")
        return DetectMode.NONE, (), ""
    return mode, cidrs, _interface(mode, local.bridge_interface, local.interface_name_prefix, where, findings)


def _interface(mode: DetectMode, bridge: str, prefix: str, where: str, findings: Findings) -> str:
    by_interface = {
        DetectMode.BRIDGE_INTERFACE: ("bridgeInterface", bridge),
        DetectMode.INTERFACE_NAME_PREFIX: ("interfaceNamePrefix", prefix),
    }
    field, name = by_interface.get(mode, ("", ""))
    if field and not name:
        findings.wrong(where, f"detectLocal.{field}", f"is required with {mode.value}")
    return name
