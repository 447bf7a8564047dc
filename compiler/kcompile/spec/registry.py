"""The kinds that are read.

A kind is group, version and kind: another group's Service has nothing to do with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .objects import (
    CronJob,
    DaemonSet,
    Deployment,
    Endpoints,
    EndpointSlice,
    Job,
    Namespace,
    Node,
    Object,
    Pod,
    ReplicaSet,
    Service,
    ServiceCIDR,
    StatefulSet,
)  # fmt: skip
from .older import EndpointSliceV1Beta1, slice_of_v1

__all__ = ["KINDS", "Kind", "own_versions"]


class Kind(NamedTuple):
    """How one kind is read: decoded as `cls`, made current by `convert`, kept in the Inventory's `list`.

    `schema` is the kind whose fields it has (a key of fields.json): its own, or the version that followed it.
    """

    version: str
    name: str
    cls: type[Object]
    list: str
    schema: str
    convert: Callable[[Any], Object] | None = None


_TEMPLATES: dict[str, tuple[type[Object], tuple[str, ...]]] = {
    "Deployment": (Deployment, ("apps/v1", "apps/v1beta2", "apps/v1beta1", "extensions/v1beta1")),
    "ReplicaSet": (ReplicaSet, ("apps/v1", "apps/v1beta2", "extensions/v1beta1")),
    "DaemonSet": (DaemonSet, ("apps/v1", "apps/v1beta2", "extensions/v1beta1")),
    "StatefulSet": (StatefulSet, ("apps/v1", "apps/v1beta2", "apps/v1beta1")),
    "Job": (Job, ("batch/v1",)),
    "CronJob": (CronJob, ("batch/v1", "batch/v1beta1")),
}
"""Kinds that lend the templates of Pods, with the versions that the API has and had of them; the first has
the fields of all.
"""


def _kinds() -> Iterator[Kind]:
    yield Kind("v1", "Service", Service, "services", "v1/Service")
    yield Kind("v1", "Endpoints", Endpoints, "endpoints", "v1/Endpoints")
    yield Kind("v1", "Pod", Pod, "pods", "v1/Pod")
    yield Kind("v1", "Node", Node, "nodes", "v1/Node")
    yield Kind("v1", "Namespace", Namespace, "namespaces", "v1/Namespace")
    name, schema = "EndpointSlice", "discovery.k8s.io/v1/EndpointSlice"
    yield Kind("discovery.k8s.io/v1", name, EndpointSlice, "endpoint_slices", schema)
    yield Kind("discovery.k8s.io/v1beta1", name, EndpointSliceV1Beta1, "endpoint_slices", schema, slice_of_v1)
    for version in ("networking.k8s.io/v1", "networking.k8s.io/v1beta1"):
        yield Kind(version, "ServiceCIDR", ServiceCIDR, "service_cidrs", "networking.k8s.io/v1/ServiceCIDR")
    for name, (cls, versions) in _TEMPLATES.items():
        kept = "deployments" if cls is Deployment else "workloads"
        for version in versions:
            yield Kind(version, name, cls, kept, f"{versions[0]}/{name}")


KINDS = {(kind.version, kind.name): kind for kind in _kinds()}
"""By apiVersion and kind."""

_GROUPS = {version.rpartition("/")[0] for version, _ in KINDS}


def own_versions(version: str, kind: str) -> list[str]:
    """The versions in which `kind` is read, if the group of `version` is one that is read; else none."""
    if version.rpartition("/")[0] not in _GROUPS:
        return []
    return [known for known, name in KINDS if name == kind]
