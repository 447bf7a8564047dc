"""The objects of a cluster, in EndpointSlices of the size that Kubernetes' controller makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..generate import NODE, NODE_IP, Scale, service_and_slice

__all__ = ["MOST", "Object", "cluster", "node", "replaced", "slices", "with_addresses", "without_last"]

Object = dict[str, Any]

MOST = 100
"""Endpoints of a slice: --max-endpoints-per-slice of kube-controller-manager."""


def cluster(scale: Scale) -> Iterator[Object]:
    """The node, and every Service with its slices."""
    yield node()
    for i in range(scale.services):
        service, _ = service_and_slice(scale, i)
        yield service
        yield from slices(scale, i)


def node() -> Object:
    """The node whose rules are made."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE, "labels": {"topology.kubernetes.io/zone": "zone-0"}},
        "spec": {},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE_IP}]},
    }


def slices(scale: Scale, i: int) -> list[Object]:
    """The slices of Service `i`."""
    _, whole = service_and_slice(scale, i)
    endpoints = whole["endpoints"]
    parts = []
    for start in range(0, len(endpoints), MOST):
        name = whole["metadata"]["name"] + (f"-{start}" if start else "")
        metadata = {**whole["metadata"], "name": name}
        parts.append({**whole, "metadata": metadata, "endpoints": endpoints[start : start + MOST]})
    return parts


def without_last(part: Object) -> Object:
    """A slice without its last endpoint."""
    return {**part, "endpoints": part["endpoints"][:-1]}


def replaced(part: Object, ip: str) -> Object:
    """A slice whose last endpoint has another address: a Pod came in another's place."""
    last = {**part["endpoints"][-1], "addresses": [ip]}
    return {**part, "endpoints": [*part["endpoints"][:-1], last]}


def with_addresses(part: Object, ips: Sequence[str]) -> Object:
    """A slice whose endpoints have these addresses."""
    first = part["endpoints"][0]
    return {**part, "endpoints": [{**first, "addresses": [ip]} for ip in ips]}
