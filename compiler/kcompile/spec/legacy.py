"""Addresses with leading zeros (``010.0.0.1``) in objects that a cluster has stored: no API server takes them
any more, old ones did.

To some they are octal, so nobody knows which address is meant. The one address is left out with a warning; in
an object that no cluster has seen yet it stays an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from .inventory import Inventory
from .objects import Endpoints, EndpointSlice, Node, Object, Pod, Service
from .text import shown
from .warnings import Notice, about

__all__ = ["leave_out_legacy"]

_LEGACY = re.compile(r"(?=.*(?:^|\.)0\d)\d{1,3}(?:\.\d{1,3}){3}")
_TEXT = "is left out: to some its leading zeros mean octal numbers"

T = TypeVar("T")


def leave_out_legacy(inventory: Inventory) -> list[Notice]:
    """Remove such addresses from `inventory`; returns a warning for each."""
    notices: list[Notice] = []
    services = inventory.services
    services[:] = [
        service for service in services if not _is_stored(service) or _keep_service(service, notices)
    ]
    for item in filter(_is_stored, inventory.endpoint_slices):
        _from_slice(item, notices)
    for endpoints in filter(_is_stored, inventory.endpoints):
        _from_endpoints(endpoints, notices)
    for pod in filter(_is_stored, inventory.pods):
        _from_pod(pod, notices)
    for node in filter(_is_stored, inventory.nodes):
        _from_node(node, notices)
    return notices


def _is_stored(obj: Object) -> bool:
    return bool(obj.metadata.uid)


def _without(
    obj: Object,
    field: str,
    entries: list[T],
    address: Callable[[T], str | None],
    notices: list[Notice],
    step: str = "",
) -> list[T]:
    """`entries` without those that have such an address. `step`: the path to the address in an entry."""
    kept: list[T] = []
    for index, entry in enumerate(entries):
        text = address(entry)
        if text is not None and _LEGACY.fullmatch(text):
            notices.append(about(obj, "bad-address", f"{field}[{index}]{step}", f"{shown(text)} {_TEXT}"))
        else:
            kept.append(entry)
    return kept


def _itself(text: str) -> str:
    return text


def _keep_service(service: Service, notices: list[Notice]) -> bool:
    """False if the Service can't be served without such an address: its clusterIP is one."""
    spec, status = service.spec, service.status
    if spec.external_ips:
        spec.external_ips = _without(service, "spec.externalIPs", spec.external_ips, _itself, notices)
    if status and status.load_balancer and status.load_balancer.ingress:
        balancer, field = status.load_balancer, "status.loadBalancer.ingress"
        balancer.ingress = _without(
            service, field, status.load_balancer.ingress, lambda e: e.ip, notices, ".ip"
        )
    cluster_ips = (spec.cluster_ip, *(spec.cluster_ips or ()))
    own = next((ip for ip in cluster_ips if ip and _LEGACY.fullmatch(ip)), None)
    if own is not None:
        text = f"{shown(own)} has leading zeros, which to some mean octal numbers: the Service is left out"
        notices.append(about(service, "bad-address", "spec.clusterIP", text))
    return own is None


def _from_slice(item: EndpointSlice, notices: list[Notice]) -> None:
    if item.address_type != "IPv4" or not item.endpoints:
        return
    for index, endpoint in enumerate(item.endpoints):
        field = f"endpoints[{index}].addresses"
        endpoint.addresses = _without(item, field, endpoint.addresses, _itself, notices)
    item.endpoints = [endpoint for endpoint in item.endpoints if endpoint.addresses]


def _from_endpoints(endpoints: Endpoints, notices: list[Notice]) -> None:
    for index, subset in enumerate(endpoints.subsets or ()):
        field = f"subsets[{index}]"
        if subset.addresses:
            subset.addresses = _without(
                endpoints, f"{field}.addresses", subset.addresses, lambda e: e.ip, notices, ".ip"
            )
        if subset.not_ready_addresses:
            where = f"{field}.notReadyAddresses"
            unready = subset.not_ready_addresses
            subset.not_ready_addresses = _without(endpoints, where, unready, lambda e: e.ip, notices, ".ip")


def _from_pod(pod: Pod, notices: list[Notice]) -> None:
    status = pod.status
    if status is None:
        return
    for field, text in (("status.podIP", status.pod_ip), ("status.hostIP", status.host_ip)):
        if text and _LEGACY.fullmatch(text):
            notices.append(about(pod, "bad-address", field, f"{shown(text)} {_TEXT}"))
    status.pod_ip = None if status.pod_ip and _LEGACY.fullmatch(status.pod_ip) else status.pod_ip
    status.host_ip = None if status.host_ip and _LEGACY.fullmatch(status.host_ip) else status.host_ip
    if status.pod_ips:
        status.pod_ips = _without(pod, "status.podIPs", status.pod_ips, lambda e: e.ip, notices, ".ip")


def _from_node(node: Node, notices: list[Notice]) -> None:
    status = node.status
    if status and status.addresses:
        status.addresses = _without(
            node, "status.addresses", status.addresses, lambda e: e.address, notices, ".address"
        )
