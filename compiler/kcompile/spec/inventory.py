"""Everything that was read, by kind, each list in the order of the input."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..notices import Notice
from .objects import Deployment, Endpoints, EndpointSlice, Namespace, Node, Origin, Pod, Service, ServiceCIDR

__all__ = ["Inventory", "Skipped", "Workload"]


class Skipped(NamedTuple):
    """An object of a kind that has no part in a service dataplane; `kind` is ``apiVersion/kind``."""

    origin: Origin
    kind: str
    name: str


class Workload(NamedTuple):
    """What makes Pods, as far as a Service's selector cares: the `labels` of its template."""

    kind: str
    namespace: str
    name: str
    labels: dict[str, str]


class Inventory(msgspec.Struct):
    """The objects of one input; `skipped` notes those of other kinds, `workloads` what makes Pods, Deployments apart.

    `sources` are the files that were read, `warnings` those of reading and checking.
    """

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
    workloads: list[Workload] = []
    warnings: list[Notice] = []
