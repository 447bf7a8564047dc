"""The kinds that are served: one table.

A kind's `fields` are those that its field selectors may name, as in Kubernetes' conversion functions
(pkg/apis/core/v1/conversion.go); `empty` is how an object without any value is encoded, which is what a
bookmark carries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["BY_KIND", "BY_PLURAL", "RESOURCES", "Resource", "is_group", "values"]

_NODE_INFO = (
    '{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"",'
    '"kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}'
)
_NAMED = ("metadata.name", "metadata.namespace")


class Resource(NamedTuple):
    """One kind. `plural` is its name in paths; the core group is the empty one.

    `generation`: the parts whose changes metadata.generation counts. `answers_deleted`: a deletion answers
    with the object, else with a Status.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    fields: tuple[str, ...]
    empty: str
    generation: tuple[str, ...] = ()
    answers_deleted: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The plural with the group, as messages have it: ``endpointslices.discovery.k8s.io``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def head(self) -> bytes:
        """How an object that stands alone begins; in a list its kind and apiVersion are left out."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


RESOURCES = (
    Resource(
        "",
        "v1",
        "namespaces",
        "Namespace",
        namespaced=False,
        fields=("metadata.name", "name", "status.phase"),
        empty='"spec":{},"status":{}',
        answers_deleted=True,
    ),
    Resource(
        "",
        "v1",
        "nodes",
        "Node",
        namespaced=False,
        fields=("metadata.name", "spec.unschedulable"),
        empty=f'"spec":{{}},"status":{{"daemonEndpoints":{{"kubeletEndpoint":{{"Port":0}}}},"nodeInfo":{_NODE_INFO}}}',
    ),
    Resource(
        "",
        "v1",
        "services",
        "Service",
        namespaced=True,
        fields=(*_NAMED, "spec.clusterIP", "spec.type"),
        empty='"spec":{},"status":{"loadBalancer":{}}',
        answers_deleted=True,
    ),
    Resource("", "v1", "endpoints", "Endpoints", namespaced=True, fields=_NAMED, empty=""),
    Resource(
        "",
        "v1",
        "pods",
        "Pod",
        namespaced=True,
        fields=(
            *_NAMED,
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
        empty='"spec":{"containers":null},"status":{}',
        generation=("spec",),
        answers_deleted=True,
    ),
    Resource(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        namespaced=True,
        fields=_NAMED,
        empty='"addressType":"","endpoints":null,"ports":null',
        generation=("addressType", "endpoints", "ports", "labels"),
    ),
    Resource(
        "networking.k8s.io",
        "v1",
        "servicecidrs",
        "ServiceCIDR",
        namespaced=False,
        fields=_NAMED,
        empty='"spec":{},"status":{}',
    ),
)

BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
BY_PLURAL = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
_GROUPS = {(resource.group, resource.version) for resource in RESOURCES}
_PATH = {"name": "metadata.name"}  # an older name of it
_FALSE = frozenset(("spec.unschedulable", "spec.hostNetwork"))
_PATHS = {
    resource: {name: _PATH.get(name, name).split(".") for name in resource.fields} for resource in RESOURCES
}


def is_group(group: str, version: str) -> bool:
    """True if the group is served in this version."""
    return (group, version) in _GROUPS


def values(resource: Resource, obj: dict[str, Any]) -> dict[str, str]:
    """What `obj` has in the fields that selectors may name; empty where it has nothing."""
    found = {}
    for name, path in _PATHS[resource].items():
        value: Any = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if isinstance(value, bool) or (value is None and name in _FALSE):
            value = "true" if value else "false"
        found[name] = str(value or "")
    return found
