"""Strings in a configuration that mean something narrower, checked while msgspec decodes so that errors come
with their path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .addresses import BadAddress, canonical_cidr, canonical_ip
from .names import is_cluster_domain, is_dns_subdomain, is_interface
from .text import shown

__all__ = [
    "BindAddress",
    "Cidr",
    "CidrPair",
    "Domain",
    "HealthzAddress",
    "Interface",
    "IpText",
    "MetricsAddress",
    "NodeName",
    "NodePortAddress",
    "PortRange",
    "PortRangeText",
    "Seconds",
    "decode_field",
]

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_HEALTHZ_PORT = 10256
_METRICS_PORT = 10249
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Seconds(float):
    """A Go duration (``24h0m0s``), as seconds."""


class Cidr(str):
    """A CIDR, canonical."""


class CidrPair(tuple[str, ...]):
    """Comma-separated CIDRs, canonical; empty for none."""


class Interface(str):
    """The name of a network interface, or the beginning of one; may be empty."""


class NodeName(str):
    """A Node's name; may be empty."""


class NodePortAddress(str):
    """A CIDR, canonical, or ``primary``."""


class PortRange(tuple[int, int]):
    """``low-high``, both included."""


class PortRangeText(str):
    """A range of ports in any of kube-proxy's spellings (ParsePortRange): ``n``, ``n-m``, ``n+count``; may be
    empty.
    """


class IpText(str):
    """An IP address; may be empty."""


class Domain(str):
    """A cluster's domain, without dots around it; may be empty."""


class BindAddress(str):
    """``ip:port`` or ``[ip]:port``; may be empty."""


class HealthzAddress(BindAddress):
    """A bare IP gets kube-proxy's port for health checks, 10256."""


class MetricsAddress(BindAddress):
    """A bare IP gets kube-proxy's port for metrics, 10249."""


def decode_field(kind: type, value: Any) -> Any:
    """msgspec's dec_hook: `value` as `kind`. ValueError says what is wrong, msgspec adds where."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, got {shown(value)}")
    return _PARSERS[kind](value)


def _seconds(text: str) -> Seconds:
    body = text.lstrip("+")
    if body == "0":
        return Seconds(0)
    if not _DURATION.match(body) or _DURATION.sub("", body):
        raise ValueError(f"{shown(text)} is not a duration such as 30s, 1m30s or 24h0m0s")
    total = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(body))
    if total > 1 << 32:
        raise ValueError(f"{shown(text)} is too long")
    return Seconds(total)


def _decimal(text: str) -> str:
    """IPv4 without leading zeros: in what configures Kubernetes they are allowed, and not octal
    (ParseIPSloppy of k8s.io/utils/net).
    """
    return text if ":" in text else re.sub(r"(?<![0-9])0+(?=[0-9])", "", text)


def _cidr(text: str) -> Cidr:
    try:
        return Cidr(canonical_cidr(_decimal(text.strip())))
    except BadAddress as error:
        raise ValueError(f"{shown(text)}: {error}") from None


def _cidr_pair(text: str) -> CidrPair:
    return CidrPair(_cidr(part) for part in text.split(",")) if text else CidrPair()


def _interface(text: str) -> Interface:
    if text and not is_interface(text):
        raise ValueError(f"{shown(text)} is not an interface name (1-15 of A-Z a-z 0-9 _ . @ -)")
    return Interface(text)


def _node_name(text: str) -> NodeName:
    name = text.strip().lower()  # as nodeutil.GetHostname does with an override
    if name and not is_dns_subdomain(name):
        raise ValueError(f"{shown(text)} is not a Node's name")
    return NodeName(name)


def _node_port_address(text: str) -> NodePortAddress:
    return NodePortAddress(text if text == "primary" else _cidr(text))


def _port_range(text: str) -> PortRange:
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    low, high = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < low <= high < 65536:
        raise ValueError(f"{shown(text)} is not a range of ports such as 30000-32767")
    return PortRange((low, high))


def _port_range_text(text: str) -> PortRangeText:
    match = re.fullmatch(r"([0-9]{1,5})(?:([-+])([0-9]{1,5}))?", text)
    if match:
        low, high = int(match[1]), int(match[3] or match[1])
        if max(low, high) < 65536 and (match[2] == "+" or low <= high):
            return PortRangeText(text)
    if text:
        raise ValueError(f"{shown(text)} is not a range of ports such as 300-2000")
    return PortRangeText()


def _ip_text(text: str) -> IpText:
    try:
        return IpText(canonical_ip(_decimal(text)) if text else "")
    except BadAddress:
        raise ValueError(f"{shown(text)} is not an IP address") from None


def _domain(text: str) -> Domain:
    name = text.strip(".").lower()
    if text and not is_cluster_domain(name):
        raise ValueError(f"{shown(text)} is not a domain name")
    return Domain(name)


def _bind_address(text: str, default_port: int) -> str:
    """`text`, a bare IP with `default_port` (AppendPortIfNeeded of pkg/proxy/util)."""
    if not text:
        return ""
    match = re.fullmatch(r"(?:([^\[\]:]*)|\[([^\[\]]*)\]):([^:]*)", text)
    address = text if match is None else match[1] or match[2] or ""
    port = str(default_port) if match is None else match[3]
    try:
        address = canonical_ip(_decimal(address))
    except BadAddress:
        raise ValueError(f"{shown(text)} is not an IP address, ip:port or [ip]:port") from None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ValueError(f"{shown(text)}: {shown(port)} is not a port (1-65535)")
    return f"[{address}]:{int(port)}" if ":" in address else f"{address}:{int(port)}"


_PARSERS: dict[type, Callable[[str], Any]] = {
    Seconds: _seconds,
    Cidr: _cidr,
    CidrPair: _cidr_pair,
    Interface: _interface,
    NodeName: _node_name,
    NodePortAddress: _node_port_address,
    PortRange: _port_range,
    PortRangeText: _port_range_text,
    IpText: _ip_text,
    Domain: _domain,
    HealthzAddress: lambda text: HealthzAddress(_bind_address(text, _HEALTHZ_PORT)),
    MetricsAddress: lambda text: MetricsAddress(_bind_address(text, _METRICS_PORT)),
}
