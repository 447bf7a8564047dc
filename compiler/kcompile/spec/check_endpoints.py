"""The API server's rules for EndpointSlices (pkg/apis/discovery/validation) and Endpoints (ValidateEndpoints)."""

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
from .names import DNS_LABEL, DNS_SUBDOMAIN, LABEL_VALUE, is_dns_label, is_dns_subdomain
from .objects import Endpoint, EndpointAddress, EndpointPort, Endpoints, EndpointSlice
from .text import problem, shown

__all__ = ["check_endpoints", "check_slice"]

_SIZES = {"IPv4": 4, "IPv6": 16}


def check_slice(obj: EndpointSlice) -> None:
    """Raise the first problem of one EndpointSlice. The addresses of FQDN slices aren't looked at: nothing proxies to them."""
    check_metadata(obj, is_dns_subdomain, DNS_SUBDOMAIN)
    size = _SIZES.get(obj.address_type)
    if size is None:
        check_choice(obj, "addressType", obj.address_type, ("FQDN", "IPv4", "IPv6"))
        return
    ports = obj.ports
    if ports and (len(ports) > 1 or not known_port(ports[0].name, ports[0].protocol, ports[0].port)):
        _check_ports(obj, "ports", ports)
    if obj.endpoints:
        for index, endpoint in enumerate(obj.endpoints):
            _check_endpoint(obj, index, endpoint, size)


def _check_endpoint(obj: EndpointSlice, index: int, endpoint: Endpoint, size: int) -> None:
    if not endpoint.addresses:
        raise problem(obj, f"endpoints[{index}].addresses", "at least one address is required")
    for address in endpoint.addresses:
        if reason := unfit(address, size):
            position = endpoint.addresses.index(address)
            raise problem(obj, f"endpoints[{index}].addresses[{position}]", f"{shown(address)} is {reason}")
    if endpoint.node_name is not None and not known_node(endpoint.node_name):
        raise problem(obj, f"endpoints[{index}].nodeName", f"{shown(endpoint.node_name)} {DNS_SUBDOMAIN}")
    if endpoint.zone is not None and not known_label(endpoint.zone):
        raise problem(obj, f"endpoints[{index}].zone", f"{shown(endpoint.zone)} {LABEL_VALUE}")
    if endpoint.hostname is not None and not is_dns_label(endpoint.hostname):
        raise problem(obj, f"endpoints[{index}].hostname", f"{shown(endpoint.hostname)} {DNS_LABEL}")
    if endpoint.hints is not None:
        for zone in endpoint.hints.for_zones or ():
            if not zone.name or not known_label(zone.name):
                raise problem(obj, f"endpoints[{index}].hints.forZones", f"{shown(zone.name)} {LABEL_VALUE}")
        for node in endpoint.hints.for_nodes or ():
            if not known_node(node.name):
                raise problem(obj, f"endpoints[{index}].hints.forNodes", f"{shown(node.name)} {DNS_SUBDOMAIN}")


def _check_ports(obj: EndpointSlice | Endpoints, field: str, ports: list[EndpointPort]) -> None:
    """Names are unique; in Endpoints every one of several ports has one. In a slice a port may be nil or 0: proxies leave it out."""
    strict = isinstance(obj, Endpoints)
    for index, port in enumerate(ports):
        name = port.name or ""
        if name and not is_dns_label(name):
            raise problem(obj, f"{field}[{index}].name", f"{shown(name)} {DNS_LABEL}")
        if strict and not name and len(ports) > 1:
            raise problem(obj, f"{field}[{index}].name", "a name is required where there is more than one port")
        if index and any((other.name or "") == name for other in ports[:index]):
            raise problem(obj, f"{field}[{index}].name", f"the name {shown(name)} is used by another port")
        if port.protocol is not None and port.protocol not in PROTOCOLS:
            check_choice(obj, f"{field}[{index}].protocol", port.protocol, PROTOCOLS)
        if strict or port.port:
            check_port_number(obj, f"{field}[{index}].port", port.port or 0)


def check_endpoints(obj: Endpoints) -> None:
    """Raise the first problem of one Endpoints object."""
    check_metadata(obj, is_dns_subdomain, DNS_SUBDOMAIN)
    for index, subset in enumerate(obj.subsets or ()):
        field = f"subsets[{index}]"
        if subset.ports:
            _check_ports(obj, f"{field}.ports", subset.ports)
        for kind, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for position, address in enumerate(addresses or ()):
                _check_address(obj, f"{field}.{kind}[{position}]", address)


def _check_address(obj: Endpoints, field: str, address: EndpointAddress) -> None:
    if reason := unfit(address.ip):
        raise problem(obj, f"{field}.ip", f"{shown(address.ip)} is {reason}")
    if address.hostname and not is_dns_label(address.hostname):
        raise problem(obj, f"{field}.hostname", f"{shown(address.hostname)} {DNS_LABEL}")
    if address.node_name is not None and not known_node(address.node_name):
        raise problem(obj, f"{field}.nodeName", f"{shown(address.node_name)} {DNS_SUBDOMAIN}")
