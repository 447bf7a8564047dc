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
_SELECTED = '"selector":null,"template":{"metadata":{},"spec":{"containers":null}}'
_DAEMONS = '"currentNumberScheduled":0,"numberMisscheduled":0,"desiredNumberScheduled":0,"numberReady":0'
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


class Resource(NamedTuple):
    """One kind. `plural` is its name in paths; the core group is the empty one.

    `generation`: the parts whose changes metadata.generation counts. `answers_deleted`: a deletion answers
    with the object, else with a Status. `short`: other names that kubectl knows it by. `everyday`: part of
    the category "all". `parts`: its subresources.
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
    short: tuple[str, ...] = ()
    everyday: bool = False
    parts: tuple[str, ...] = ()

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


def _core(plural: str, kind: str, *short: str, **rest: Any) -> Resource:
    return Resource("", "v1", plural, kind, short=short, **{"namespaced": True, "fields": _NAMED, **rest})


def _workload(
    plural: str, kind: str, short: str, empty: str, parts: tuple[str, ...], **rest: Any
) -> Resource:
    more: dict[str, Any] = {"fields": _NAMED, "generation": ("spec",), **rest}
    return Resource(
        "apps",
        "v1",
        plural,
        kind,
        namespaced=True,
        short=(short,),
        everyday=True,
        empty=empty,
        parts=parts,
        **more,
    )


RESOURCES = (
    _core("configmaps", "ConfigMap", "cm", empty=""),
    _core("endpoints", "Endpoints", "ep", empty=""),
    _core(
        "events",
        "Event",
        "ev",
        fields=(
            *_NAMED,
            *(f"involvedObject.{part}" for part in _INVOLVED),
            "reason",
            "reportingComponent",
            "source",
            "type",
        ),
        empty='"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,'
        '"reportingComponent":"","reportingInstance":""',
    ),
    _core(
        "namespaces",
        "Namespace",
        "ns",
        namespaced=False,
        fields=("metadata.name", "name", "status.phase"),
        empty='"spec":{},"status":{}',
        answers_deleted=True,
        parts=("finalize", "status"),
    ),
    _core(
        "nodes",
        "Node",
        "no",
        namespaced=False,
        fields=("metadata.name", "spec.unschedulable"),
        empty=f'"spec":{{}},"status":{{"daemonEndpoints":{{"kubeletEndpoint":{{"Port":0}}}},"nodeInfo":{_NODE_INFO}}}',
        parts=("status",),
    ),
    _core(
        "pods",
        "Pod",
        "po",
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
        everyday=True,
        parts=("attach", "binding", "eviction", "exec", "log", "portforward", "status"),
    ),
    _core("secrets", "Secret", fields=(*_NAMED, "type"), empty=""),
    _core("serviceaccounts", "ServiceAccount", "sa", empty="", answers_deleted=True, parts=("token",)),
    _core(
        "services",
        "Service",
        "svc",
        fields=(*_NAMED, "spec.clusterIP", "spec.type"),
        empty='"spec":{},"status":{"loadBalancer":{}}',
        answers_deleted=True,
        everyday=True,
        parts=("status",),
    ),
    Resource(
        "apps",
        "v1",
        "controllerrevisions",
        "ControllerRevision",
        namespaced=True,
        fields=_NAMED,
        empty='"revision":0',
    ),
    _workload(
        "daemonsets",
        "DaemonSet",
        "ds",
        f'"spec":{{{_SELECTED},"updateStrategy":{{}}}},"status":{{{_DAEMONS}}}',
        ("status",),
    ),
    _workload(
        "deployments",
        "Deployment",
        "deploy",
        f'"spec":{{{_SELECTED},"strategy":{{}}}},"status":{{}}',
        ("scale", "status"),
        generation=("spec", "annotations"),
    ),
    _workload(
        "replicasets",
        "ReplicaSet",
        "rs",
        '"spec":{"selector":null,"template":{"metadata":{},"spec":{"containers":null}}},"status":{"replicas":0}',
        ("scale", "status"),
        fields=(*_NAMED, "status.replicas"),
    ),
    _workload(
        "statefulsets",
        "StatefulSet",
        "sts",
        f'"spec":{{{_SELECTED},"serviceName":"","updateStrategy":{{}}}},"status":{{"replicas":0,"availableReplicas":0}}',
        ("scale", "status"),
    ),
    Resource(
        "batch",
        "v1",
        "jobs",
        "Job",
        namespaced=True,
        fields=(*_NAMED, "status.successful"),
        empty='"spec":{"template":{"metadata":{},"spec":{"containers":null}}},"status":{}',
        generation=("spec",),
        everyday=True,
        parts=("status",),
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
        parts=("status",),
    ),
)

BY_KIND = {(resource.api_version, resource.kind): resource for resource in RESOURCES}
BY_PLURAL = {(resource.group, resource.version, resource.plural): resource for resource in RESOURCES}
_GROUPS = {(resource.group, resource.version) for resource in RESOURCES}
_PATH = {"name": "metadata.name", "source": "source.component", "status.successful": "status.succeeded"}
_FALSE = frozenset(("spec.unschedulable", "spec.hostNetwork"))
_ZERO = frozenset(("status.replicas", "status.successful"))
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
        found[name] = str(value or ("0" if name in _ZERO else ""))
    return found
