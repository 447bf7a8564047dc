"""The Pods behind each Service, and the Services before each Pod: shared by EndpointSlices and Endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...spec.complete import Groups, endpoint_groups
from ...spec.decode import typed
from ...spec.objects import Pod, Service
from ...spec.wellknown import ZONE_LABEL
from ..client import Client, Key, Obj
from .owners import namespace_of

__all__ = ["Backends"]


def _labelled(pod: Obj) -> Iterable[str]:
    """An index: each label of the Pod, in its namespace."""
    meta = pod["metadata"]
    return [_label(meta["namespace"], *label) for label in (meta.get("labels") or {}).items()]


def _label(namespace: str, key: str, value: str) -> str:
    return f"{namespace}/{key}={value}"


class Backends:
    """Reads Pods, Services and Nodes; Pods are decoded once a version."""

    kinds = ("Service", "Pod", "Node")

    def __init__(self, client: Client) -> None:
        self._client = client
        self._decoded: dict[str, tuple[str, Pod]] = {}

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> list[Key]:
        """The Services whose endpoints may differ after a change."""
        obj: Obj = new or old or {}
        if kind == "Service":
            return [(obj["metadata"]["namespace"], obj["metadata"]["name"])]
        if kind == "Node":
            return [] if _zone(old) == _zone(new) else list(self._client.objects("Service"))
        if new is None:
            self._decoded.pop(obj["metadata"]["uid"], None)
        return self._selecting(obj["metadata"]["namespace"], old, new)

    def _selecting(self, namespace: str, *pods: Obj | None) -> list[Key]:
        labels = [(pod["metadata"].get("labels") or {}).items() for pod in pods if pod is not None]
        found = []
        for service in self._client.find("Service", namespace_of, namespace):
            selector = service["spec"].get("selector")
            if selector and any(selector.items() <= each for each in labels):
                found.append((namespace, service["metadata"]["name"]))
        return found

    def pods(self, service: Obj) -> list[Obj]:
        """The Pods that `service` selects."""
        namespace, selector = service["metadata"]["namespace"], service["spec"]["selector"].items()
        wanted = [self._client.find("Pod", _labelled, _label(namespace, *label)) for label in selector]
        return [pod for pod in min(wanted, key=len) if selector <= pod["metadata"]["labels"].items()]

    def groups(self, service: Obj, pods: Iterable[Obj]) -> Groups:
        """The endpoints of `service`, by family and ports."""
        zones = {name: _zone(node) for (_, name), node in self._client.objects("Node").items()}
        return endpoint_groups(typed(service, Service), [self._pod(pod) for pod in pods], zones)

    def _pod(self, pod: Obj) -> Pod:
        meta: dict[str, Any] = pod["metadata"]
        version, known = self._decoded.get(meta["uid"], ("", None))
        if known is None or version != meta["resourceVersion"]:
            known = typed(pod, Pod)
            self._decoded[meta["uid"]] = meta["resourceVersion"], known
        return known


def _zone(node: Obj | None) -> str:
    labels = {} if node is None else node["metadata"].get("labels") or {}
    return str(labels.get(ZONE_LABEL, ""))
