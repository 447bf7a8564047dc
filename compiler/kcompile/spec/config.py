"""A configuration file to a `Config`: a KubeProxyConfiguration as it is, kcompile's short form, or both, the short form's values on top."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from ..errors import ConfigError
from ..ir.node import DetectMode
from .allocate import DEFAULT_NODE_PORT_RANGE
from .check_service import SCHEDULERS
from .decode import without_nulls
from .fieldtypes import decode_field
from .kubeproxy import (
    CompilerConfiguration,
    ConntrackSection,
    IptablesSection,
    IpvsSection,
    KubeProxyConfiguration,
    NftablesSection,
)
from .reader import Unreadable, check_text, read
from .text import Wrong, explain, printable, shown
from .yaml_reader import yaml_documents

__all__ = ["Config", "load_config"]

_MAX_BYTES = 4 << 20
_MODES = ("", "iptables", "nftables", "ipvs", "xdp")
_FORMS: dict[str, tuple[str, type[Any]]] = {
    "KubeProxyConfiguration": ("kubeproxy.config.k8s.io/v1alpha1", KubeProxyConfiguration),
    "CompilerConfiguration": ("kcompile.dev/v1alpha1", CompilerConfiguration),
}
# Fields of a KubeProxyConfiguration that nothing here reads; a value other than the default is worth a warning.
_UNUSED = (
    "featureGates", "clientConnection.acceptContentTypes", "clientConnection.contentType", "clientConnection.qps",
    "clientConnection.burst", "logging", "bindAddress", "bindAddressHardFail", "enableProfiling", "showHiddenMetricsForVersion",
    "winkernel", "oomScoreAdj", "configSyncPeriod", "portRange", "windowsRunAsService",
)  # fmt: skip

# ip_vs_set_timeout(): as many ticks as a signed int can count, where the kernel has 1000 a second
_LONGEST = (2**31 - 1) // 1000

_T = TypeVar("_T")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a file can set. Addresses and CIDRs are canonical, durations seconds; `warnings` names fields without effect here.

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
    masquerade_all: bool | None = None
    masquerade_bit: int | None = None
    localhost_node_ports: bool = True
    iptables: IptablesSection = IptablesSection()
    nftables: NftablesSection = NftablesSection()
    ipvs: IpvsSection = IpvsSection()
    conntrack: ConntrackSection = ConntrackSection()
    healthz_bind_address: str = ""
    metrics_bind_address: str = ""
    warnings: tuple[str, ...] = ()

    def section(self, mode: str) -> IptablesSection | NftablesSection:
        """The section that counts in `mode`: nftables has its own, the other modes share the one of iptables, as in kube-proxy."""
        return self.nftables if mode == "nftables" else self.iptables


def load_config(path: str) -> Config:
    """Read `path`. Raises ConfigError with file, document and field; a file without any document gives the defaults."""
    source = printable(path)
    found: dict[type[Any], tuple[int, Any]] = {}
    warnings: list[str] = []
    try:
        for number, document in yaml_documents(check_text(read(path, None, _MAX_BYTES))):
            if document is None:
                continue
            value = _decode(without_nulls(document), number)
            if type(value) in found:
                raise Wrong(f"a second {type(value).__name__}", document=number)
            found[type(value)] = number, value
            if isinstance(value, KubeProxyConfiguration):
                warnings = [f"{source}: {field}: not used by kcompile" for field in _unused(without_nulls(document))]
        return _merged(source, found, warnings)
    except Unreadable as error:
        raise ConfigError(f"{source}: {error.message}") from None
    except Wrong as error:
        parts = (source, f"document {error.document}" if error.document else "", error.field, error.message)
        raise ConfigError(": ".join(part for part in parts if part)) from None


def _decode(document: Any, number: int) -> Any:
    if not isinstance(document, dict):
        raise Wrong("a configuration must be a mapping", document=number)
    kind, version = document.get("kind", "CompilerConfiguration"), document.get("apiVersion")
    if not isinstance(kind, str) or kind not in _FORMS:
        raise Wrong(f"{shown(kind)} is not one of {', '.join(_FORMS)}", document=number, field="kind")
    wanted, form = _FORMS[kind]
    if version != wanted and (version is not None or "kind" in document):
        raise Wrong(f"{shown(version)} is not {wanted}", document=number, field="apiVersion")
    try:
        return msgspec.convert(document, form, dec_hook=decode_field)
    except msgspec.ValidationError as error:
        wrong = explain(error, document)
        wrong.document = number
        raise wrong from None


def _unused(document: Any, prefix: str = "") -> Iterator[str]:
    """The unused fields that are set: kubeadm writes out every field, mostly with an empty value."""
    for key, value in document.items():
        field = prefix + key
        if field in _UNUSED:
            if not _is_empty(value) and not (field == "bindAddress" and value in ("0.0.0.0", "::")):
                yield field
        elif isinstance(value, dict) and not prefix:
            yield from _unused(value, f"{field}.")


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_empty(inner) for inner in value.values())
    return value in ("", 0, False, None, "0", "0s", [])


def _merged(source: str, found: dict[type[Any], tuple[int, Any]], warnings: list[str]) -> Config:
    proxy_document, proxy = found.get(KubeProxyConfiguration, (0, KubeProxyConfiguration(api_version="", kind="")))
    short_document, short = found.get(CompilerConfiguration, (0, CompilerConfiguration()))
    _check(proxy, proxy_document)
    _check(short, short_document)
    detect = _proxy_detector(proxy, proxy_document, source, warnings) if short.detect_local is UNSET else _detector(short, short_document)
    return Config(
        source=source,
        mode=_first(short.mode, proxy.mode),
        compat=_first(short.compat, ""),
        hostname=_first(short.hostname_override, proxy.hostname_override),
        kubeconfig=proxy.client_connection.kubeconfig,
        detect_mode=detect[0],
        detect_cidrs=detect[1],
        detect_interface=detect[2],
        node_port_range=_first(short.node_port_range, DEFAULT_NODE_PORT_RANGE),
        node_port_addresses=tuple(_first(short.node_port_addresses, proxy.node_port_addresses)),
        service_cidrs=tuple(_first(short.service_cidrs, [])),
        masquerade_all=_first(short.masquerade_all, None),
        masquerade_bit=_first(short.masquerade_bit, None),
        localhost_node_ports=_first(short.localhost_node_ports, proxy.iptables.localhost_node_ports) is not False,
        iptables=proxy.iptables,
        nftables=proxy.nftables,
        ipvs=proxy.ipvs,
        conntrack=proxy.conntrack,
        healthz_bind_address=proxy.healthz_bind_address,
        metrics_bind_address=proxy.metrics_bind_address,
        warnings=tuple(warnings),
    )


def _first(short: Any, proxy: _T) -> _T:
    """The short form's value where it is set. `Any`: both forms hold the same type, one of them or UNSET."""
    return proxy if short is UNSET else short


def _check(form: KubeProxyConfiguration | CompilerConfiguration, document: int) -> None:
    """What one field's type doesn't say."""
    modes = _MODES[:-1] if isinstance(form, KubeProxyConfiguration) else _MODES
    if form.mode is not UNSET and form.mode not in modes:
        raise Wrong(f"{shown(form.mode)} is not one of {', '.join(modes[1:])}", document=document, field="mode")
    if isinstance(form, CompilerConfiguration) and form.compat not in (UNSET, "", "iptables", "nftables"):
        raise Wrong(f"{shown(form.compat)} is not one of iptables, nftables", document=document, field="compat")
    addresses = form.node_port_addresses
    if addresses is not UNSET and "primary" in addresses and len(addresses) > 1:
        raise Wrong("'primary' stands alone or not at all", document=document, field="nodePortAddresses")
    if isinstance(form, KubeProxyConfiguration) and form.ipvs.scheduler not in ("", *SCHEDULERS):
        raise Wrong(f"{shown(form.ipvs.scheduler)} is not a scheduler of IPVS", document=document, field="ipvs.scheduler")
    if isinstance(form, KubeProxyConfiguration):
        given = {"tcpTimeout": form.ipvs.tcp_timeout, "tcpFinTimeout": form.ipvs.tcp_fin_timeout, "udpTimeout": form.ipvs.udp_timeout}
        for field, seconds in given.items():
            if seconds > _LONGEST:
                raise Wrong(f"more than {_LONGEST} seconds", document=document, field=f"ipvs.{field}")


_Detect = tuple[DetectMode, tuple[str, ...], str]


def _detector(form: CompilerConfiguration, document: int) -> _Detect:
    local = form.detect_local
    assert local is not UNSET
    mode = DetectMode.NONE if local.mode == "None" else DetectMode(local.mode)
    return _checked((mode, tuple(local.cidrs), _interface(mode, local.bridge_interface, local.interface_name_prefix)), document)


def _proxy_detector(form: KubeProxyConfiguration, document: int, source: str, warnings: list[str]) -> _Detect:
    """SetDefaults_KubeProxyConfiguration: a clusterCIDR without a mode is mode ClusterCIDR."""
    cidrs = (*form.cluster_cidr, *form.detect_local.cluster_cidrs)
    mode = DetectMode(form.detect_local_mode or ("ClusterCIDR" if cidrs else ""))
    if mode is DetectMode.CLUSTER_CIDR and not cidrs:  # kube-proxy goes on without a detector too
        warnings.append(f"{source}: detectLocalMode: ClusterCIDR without a clusterCIDR detects nothing")
        mode = DetectMode.NONE
    interface = _interface(mode, form.detect_local.bridge_interface, form.detect_local.interface_name_prefix)
    return _checked((mode, cidrs, interface), document)


def _interface(mode: DetectMode, bridge: str, prefix: str) -> str:
    return {DetectMode.BRIDGE_INTERFACE: bridge, DetectMode.INTERFACE_NAME_PREFIX: prefix}.get(mode, "")


def _checked(detect: _Detect, document: int) -> _Detect:
    mode, cidrs, interface = detect
    if mode is DetectMode.CLUSTER_CIDR and not cidrs:
        raise Wrong("detecting by ClusterCIDR needs the cluster's CIDRs", document=document, field="detectLocal")
    if mode in (DetectMode.BRIDGE_INTERFACE, DetectMode.INTERFACE_NAME_PREFIX) and not interface:
        field = "detectLocal.bridgeInterface" if mode is DetectMode.BRIDGE_INTERFACE else "detectLocal.interfaceNamePrefix"
        raise Wrong(f"is required with {mode.value}", document=document, field=field)
    return detect
