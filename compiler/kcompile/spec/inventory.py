"""Everything that was read, by kind, each list in the order of the input."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..notices import Notice
from .objects import (
    CronJob,
    Deployment,
    Endpoints,
    EndpointSlice,
    Namespace,
    Node,
    Origin,
    Pod,
    Service,
    ServiceCIDR,
    Workload,
)

__all__ = ["Inventory", "Skipped"]


class Skipped(NamedTuple):
    """An object of a kind that makes no rules; `kind` is ``apiVersion/kind``."""

    origin: Origin
    kind: str
    name: str


class Inventory(msgspec.Struct):
    """The objects of one input by kind; `workloads` are the kinds other than Deployment that make Pods.

    `skipped` notes objects of other kinds, `sources` the files that were read, `warnings` those of reading
    and checking.
    """

    services: list[Service] = []
    endpoint_slices: list[EndpointSlice] = []
    endpoints: list[Endpoints] = []
    pods: list[Pod] = []
    nodes: list[Node] = []
    deployments: list[Deployment] = []
    workloads: list[Workload | CronJob] = []
    namespaces: list[Namespace] = []
    service_cidrs: list[ServiceCIDR] = []
    skipped: list[Skipped] = []
    sources: list[str] = []
    warnings: list[Notice] = []
