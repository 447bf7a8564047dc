"""The API server's rules for EndpointSlices (pkg/apis/discovery/validation) and Endpoints
(ValidateEndpoints).
"""

from __future__ import annotations

from .addresses import unfit
from .check import (
    PROTOCOLS,
    check_choice,
    check_metadata,
    check_port_number,
    known_label,
    known_node,
    known_port,
)
from .names import (
    DNS_LABEL,
    DNS_SUBDOMAIN,
    LABEL_VALUE,
    QUALIFIED_NAME,
    is_dns_label,
    is_dns_subdomain,
    is_label_key,
)
from .objects import Endpoint, EndpointAddress, EndpointHints, EndpointPort, Endpoints, EndpointSlice
from .text import problem, shown

__all__ = ["check_endpoints", "check_slice"]

_SIZES = {"IPv4": 4, "IPv6": 16}
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_HINTS = 1000, 100, 8


def check_slice(obj: EndpointSlice) -> None:
    """Raise the first problem of one EndpointSlice."""
    check_metadata(obj, is_dns_subdomain, DNS_SUBDOMAIN)
    size = _SIZES.get(obj.address_type, 0)
    if not size:
        check_choice(obj, "addressType", obj.address_type, ("FQDN", "IPv4", "IPv6"))
    ports = obj.ports
    if ports and (
        len(ports) > 1
        or ports[0].app_protocol is not None
        or not known_port(ports[0].name, ports[0].protocol, ports[0].port)
    ):
        _check_ports(obj, "ports", ports)
    if obj.endpoints:
        if len(obj.endpoints) > _MAX_ENDPOINTS:
            raise problem(
                obj,
                "endpoints",
                f"has {len(obj.endpoints):,} entries; a slice may have {_MAX_ENDPOINTS:,}: write several",
            )
        for index, endpoint in enumerate(obj.endpoints):
            _check_endpoint(obj, index, endpoint, size)


def _check_endpoint(obj: EndpointSlice, index: int, endpoint: Endpoint, size: int) -> None:
    """`size`: 4 or 16, the bytes that an address must have; 0 for names."""
    if not endpoint.addresses:
        raise problem(obj, f"endpoints[{index}].addresses", "at least one address is required")
    if len(endpoint.addresses) > _MAX_ADDRESSES:
        raise problem(
            obj,
            f"endpoints[{index}].addresses",
            f"has {len(endpoint.addresses)} entries; {_MAX_ADDRESSES} at most",
        )
    for address in endpoint.addresses:
        if reason := unfit(address, size) if size else _unfit_name(address):
            position = endpoint.addresses.index(address)
            raise problem(obj, f"endpoints[{index}].addresses[{position}]", f"{shown(address)} is {reason}")
    if endpoint.node_name is not None and not known_node(endpoint.node_name):
        raise problem(obj, f"endpoints[{index}].nodeName", f"{shown(endpoint.node_name)} {DNS_SUBDOMAIN}")
    if endpoint.zone is not None and not known_label(endpoint.zone):
        raise problem(obj, f"endpoints[{index}].zone", f"{shown(endpoint.zone)} {LABEL_VALUE}")
    if endpoint.hostname is not None and not is_dns_label(endpoint.hostname):
        raise problem(obj, f"endpoints[{index}].hostname", f"{shown(endpoint.hostname)} {DNS_LABEL}")
    if endpoint.hints is not None:
        _check_hints(obj, f"endpoints[{index}].hints", endpoint.hints)


def _check_hints(obj: EndpointSlice, field: str, hints: EndpointHints) -> None:
    """Check the zones of hints; the API accepts an empty one."""
    for kind, entries in (("forZones", hints.for_zones or ()), ("forNodes", hints.for_nodes or ())):
        if len(entries) > _MAX_HINTS:
            raise problem(obj, f"{field}.{kind}", f"has {len(entries)} entries; {_MAX_HINTS} at most")
    for index, zone in enumerate(hints.for_zones or ()):
        if not known_label(zone.name):
            raise problem(obj, f"{field}.forZones[{index}].name", f"{shown(zone.name)} {LABEL_VALUE}")
    for index, node in enumerate(hints.for_nodes or ()):
        if not known_node(node.name):
            raise problem(obj, f"{field}.forNodes[{index}].name", f"{shown(node.name)} {DNS_SUBDOMAIN}")


def _unfit_name(text: str) -> str:
    """Why `text` can't be the address of an FQDN endpoint, empty if it can: proxies skip these, but the API
    checks them.
    """
    name = text.removesuffix(".")
    return "" if "." in name and is_dns_subdomain(name) else "not a full domain name"


def _check_ports(obj: EndpointSlice | Endpoints, field: str, ports: list[EndpointPort]) -> None:
    """Check that names are unique, and in Endpoints that each of several ports has one.

    In a slice a port may be nil or 0; proxies skip it.
    """
    strict = isinstance(obj, Endpoints)
    for index, port in enumerate(ports):
        name = port.name or ""
        if name and not is_dns_label(name):
            raise problem(obj, f"{field}[{index}].name", f"{shown(name)} {DNS_LABEL}")
        if strict and not name and len(ports) > 1:
            raise problem(
                obj, f"{field}[{index}].name", "a name is required where there is more than one port"
            )
        if index and any((other.name or "") == name for other in ports[:index]):
            raise problem(obj, f"{field}[{index}].name", f"the name {shown(name)} is used by another port")
        if port.protocol is not None and port.protocol not in PROTOCOLS:
            check_choice(obj, f"{field}[{index}].protocol", port.protocol, PROTOCOLS)
        if port.app_protocol is not None and not is_label_key(port.app_protocol):
            raise problem(
                obj, f"{field}[{index}].appProtocol", f"{shown(port.app_protocol)} {QUALIFIED_NAME}"
            )
        if strict or port.port:
            check_port_number(obj, f"{field}[{index}].port", port.port or 0)


def check_endpoints(obj: Endpoints) -> None:
    """Raise the first problem of one Endpoints object."""
    check_metadata(obj, is_dns_subdomain, DNS_SUBDOMAIN)
    for index, subset in enumerate(obj.subsets or ()):
        field = f"subsets[{index}]"
        if subset.ports:
            _check_ports(obj, f"{field}.ports", subset.ports)
        for kind, addresses in (
            ("addresses", subset.addresses),
            ("notReadyAddresses", subset.not_ready_addresses),
        ):
            for position, address in enumerate(addresses or ()):
                _check_address(obj, f"{field}.{kind}[{position}]", address)
        if not subset.addresses and not subset.not_ready_addresses:
            raise problem(obj, field, "addresses or notReadyAddresses are required")


def _check_address(obj: Endpoints, field: str, address: EndpointAddress) -> None:
    if reason := unfit(address.ip):
        raise problem(obj, f"{field}.ip", f"{shown(address.ip)} is {reason}")
    if address.hostname and not is_dns_label(address.hostname):
        raise problem(obj, f"{field}.hostname", f"{shown(address.hostname)} {DNS_LABEL}")
    if address.node_name is not None and not known_node(address.node_name):
        raise problem(obj, f"{field}.nodeName", f"{shown(address.node_name)} {DNS_SUBDOMAIN}")
