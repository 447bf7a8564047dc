"""What of a lab isn't ready yet, and what won't become so: pure, over the API's objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..spec.wellknown import SERVICE_LABEL

__all__ = ["Failure", "Named", "Objects", "failures", "unpublished", "unready"]

Obj = Mapping[str, Any]
Objects = Callable[[str], Mapping[tuple[str, str], Obj]]
"""The objects of a kind by namespace and name: `Client.objects`."""

_MAX_RESTARTS = 3  # of a container that ends at its start: others that it needs may be starting
_MOUNTED = 3.0  # seconds for a ConfigMap that is applied after its Pod
_STARTING = ("ContainerCreating", "PodInitializing", "")


class Named(NamedTuple):
    """An object that somebody waits for."""

    kind: str
    namespace: str
    name: str


def unready(objects: Objects, wanted: Collection[Named]) -> list[str]:
    """A line for each of `wanted` that isn't ready: workloads that aren't rolled out, Pods."""
    lines = []
    for each in wanted:
        obj = _found(objects, each)
        if obj is not None and (line := _lack(each, obj)):
            lines.append(line)
    return lines


class Failure(NamedTuple):
    """A Pod that won't become ready by waiting, and why. `patience`: seconds that this may last before."""

    pod: Obj
    reason: str
    patience: float = 0.3


def failures(objects: Objects, wanted: Collection[Named]) -> Iterator[Failure]:
    """Pods of `wanted` that won't become ready by waiting."""
    for pod in _pods_of(objects, wanted):
        status = pod.get("status") or {}
        if status.get("phase") == "Failed":
            yield Failure(pod, _ended(status) or status.get("message") or "it has failed")
            continue
        for each in _containers(status):
            waiting = (each.get("state") or {}).get("waiting") or {}
            reason = waiting.get("reason") or ""
            if reason == "CrashLoopBackOff" and each.get("restartCount", 0) < _MAX_RESTARTS:
                continue
            if reason not in _STARTING:
                yield Failure(pod, f"container {each['name']}: {waiting.get('message') or reason}")
                break
        if status.get("phase") == "Pending" and (message := _not_mounted(objects, pod)):
            yield Failure(pod, message, _MOUNTED)


def _not_mounted(objects: Objects, pod: Obj) -> str:
    """What the kubelet says of a volume that can't be had; empty where it says nothing."""
    uid = pod["metadata"]["uid"]
    for event in objects("Event").values():
        if event.get("reason") == "FailedMount" and (event.get("involvedObject") or {}).get("uid") == uid:
            return str(event.get("message") or "")
    return ""


def unpublished(objects: Objects) -> list[str]:
    """A line for each Service whose slices don't have just the ready ones of the Pods that it selects."""
    published: dict[tuple[str, str], set[str]] = {}
    for (namespace, _), piece in objects("EndpointSlice").items():
        owner = namespace, (piece["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                published.setdefault(owner, set()).update(endpoint["addresses"])
    lines = []
    for key, service in objects("Service").items():
        selector = (service.get("spec") or {}).get("selector")
        if selector and _ready_addresses(objects, key[0], selector, service) - published.get(key, set()):
            lines.append(f"endpoints of Service {key[0]}/{key[1]}")
    return lines


def _ready_addresses(objects: Objects, namespace: str, selector: Mapping[str, str], service: Obj) -> set[str]:
    """The first addresses of the ready Pods, of the Service's first family."""
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    found = set()
    for (where, _), pod in objects("Pod").items():
        labels = pod["metadata"].get("labels") or {}
        if where == namespace and selector.items() <= labels.items() and _is_ready(pod):
            addresses = [each["ip"] for each in (pod.get("status") or {}).get("podIPs") or ()]
            found.update([ip for ip in addresses if (":" in ip) == (families[0] == "IPv6")])
    return found


def _found(objects: Objects, each: Named) -> Obj | None:
    return objects(each.kind).get((each.namespace, each.name))


def _lack(each: Named, obj: Obj) -> str:
    """What `obj` waits for; empty where it is ready."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    seen = status.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    if each.kind == "Pod":
        done = status.get("phase") == "Succeeded" or _is_ready(obj)
        return "" if done else f"Pod {each.namespace}/{each.name}: {_state(obj)}"
    if each.kind == "Deployment":
        wanted = spec.get("replicas", 1)
        updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
        ready = min(updated, ready)
        seen = seen and status.get("replicas", 0) == wanted
    elif each.kind == "StatefulSet":
        wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
        seen = seen and status.get("updatedReplicas", wanted) >= wanted
    elif each.kind == "DaemonSet":
        wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
        seen = seen and status.get("updatedNumberScheduled", 0) >= wanted
    else:
        return ""
    return (
        ""
        if seen and ready >= wanted
        else f"{each.kind} {each.namespace}/{each.name}: {ready} of {wanted} ready"
    )


def _pods_of(objects: Objects, wanted: Collection[Named]) -> Iterator[Obj]:
    """The Pods that belong to `wanted`, directly or through a ReplicaSet, and aren't being deleted."""
    owners = {obj["metadata"]["uid"] for each in wanted if (obj := _found(objects, each)) is not None}
    for kind in ("ReplicaSet", "Pod"):
        for obj in list(objects(kind).values()):
            meta = obj["metadata"]
            owned = any(each.get("uid") in owners for each in meta.get("ownerReferences") or ())
            if kind == "ReplicaSet" and owned and (obj.get("spec") or {}).get("replicas"):
                owners.add(meta["uid"])
            elif kind == "Pod" and (owned or meta["uid"] in owners) and "deletionTimestamp" not in meta:
                yield obj


def _containers(status: Obj) -> Iterable[Obj]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _is_ready(pod: Obj) -> bool:
    """Whether the Pod is ready, and stays."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _state(pod: Obj) -> str:
    """Why a Pod isn't ready, in a word or two."""
    status = pod.get("status") or {}
    for each in _containers(status):
        state = each.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason")
        if reason and reason != "Completed":
            return str(reason)
    return "not ready" if status.get("phase") == "Running" else str(status.get("phase") or "Pending")


def _ended(status: Obj) -> str:
    for each in _containers(status):
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"container {each['name']} ended with status {ended['exitCode']}"
    return ""
