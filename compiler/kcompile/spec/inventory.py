"""Everything that was read, by kind, each list in the order of the input."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from .objects import Deployment, Endpoints, EndpointSlice, Namespace, Node, Origin, Pod, Service, ServiceCIDR

__all__ = ["Inventory", "Skipped"]


class Skipped(NamedTuple):
    """An object of a kind that has no part in a service dataplane; `kind` is ``apiVersion/kind``."""

    origin: Origin
    kind: str
    name: str


class Inventory(msgspec.Struct):
    """The objects of one input; `skipped` notes those of other kinds, `sources` the files that were read."""

    services: list[Service] = []
    endpoint_slices: list[EndpointSlice] = []
    endpoints: list[Endpoints] = []
    pods: list[Pod] = []
    nodes: list[Node] = []
    deployments: list[Deployment] = []
    namespaces: list[Namespace] = []
    service_cidrs: list[ServiceCIDR] = []
    skipped: list[Skipped] = []
    sources: list[str] = []
