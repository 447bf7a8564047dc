"""Endpoints, the older form, of Services with a selector (pkg/controller/endpoint)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...spec.complete import Groups
from ...spec.objects import Endpoint
from ...spec.wellknown import HEADLESS_LABEL
from ..client import Client, Key, Obj
from .backends import Backends
from .writes import Create, Delete, Update, Write

__all__ = ["EndpointsObjects", "decide"]

_MOST = 1000  # addresses in an object
_OVER = "endpoints.kubernetes.io/over-capacity"
_MANAGED = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}


class EndpointsObjects:
    name = "endpoint-controller"
    kinds = Backends.kinds

    def __init__(self, client: Client, backends: Backends) -> None:
        self._client, self._backends = client, backends

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        return self._backends.affected(kind, old, new)

    def decide(self, key: Key) -> list[Write]:
        service, existing = self._client.get("Service", *key), self._client.get("Endpoints", *key)
        if service is None:
            return [] if existing is None else [Delete(existing)]
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return []
        return decide(service, self._backends.groups(service, self._backends.pods(service)), existing)


def decide(service: Obj, groups: Groups, existing: Obj | None) -> list[Write]:
    """The write that makes `existing` hold the endpoints of the Service's first family."""
    family = int((service["spec"].get("ipFamilies") or ["IPv4"])[0][-1])
    own = {ports: endpoints for (each, ports), endpoints in groups.items() if each == family}
    total = sum(len(endpoints) for endpoints in own.values())
    meta = service["metadata"]
    labels = (meta.get("labels") or {}) | _MANAGED
    labels.pop(HEADLESS_LABEL, None)
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    subsets = _truncated([_subset(ports, endpoints) for ports, endpoints in sorted(own.items())])
    before = {} if existing is None else existing
    notes = dict((before.get("metadata") or {}).get("annotations") or {})
    notes.pop(_OVER, None)
    if total > _MOST:
        notes[_OVER] = "truncated"
    wanted = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            **before.get("metadata", {"name": meta["name"], "namespace": meta["namespace"]}),
            "labels": labels,
            "annotations": notes,
        },
        "subsets": subsets,
    }
    if existing is None:
        return [Create(wanted)]
    return [] if _content(existing) == _content(wanted) else [Update(wanted)]


def _content(obj: Mapping[str, Any]) -> tuple[Any, ...]:
    meta = obj["metadata"]
    return meta.get("labels") or {}, meta.get("annotations") or {}, obj.get("subsets") or []


def _subset(ports: Iterable[tuple[str, str, int]], endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Addresses with the same ports (RepackSubsets), those that aren't ready apart."""
    subset: dict[str, Any] = {}
    for each in sorted(endpoints, key=lambda endpoint: endpoint.addresses[0]):
        conditions = each.conditions
        ready = conditions is None or conditions.ready is not False
        if conditions is not None and conditions.terminating and not conditions.ready:
            continue
        subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(_address(each))
    named = [_port(*port) for port in ports]
    return subset | ({"ports": named} if named else {})


def _port(name: str, protocol: str, number: int) -> dict[str, Any]:
    return {**({"name": name} if name else {}), "port": number, "protocol": protocol}


def _address(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {"ip": endpoint.addresses[0]}
    if endpoint.hostname:
        found["hostname"] = endpoint.hostname
    if endpoint.node_name:
        found["nodeName"] = endpoint.node_name
    if (target := endpoint.target_ref) is not None:
        about = {"kind": target.kind, "namespace": target.namespace, "name": target.name}
        found["targetRef"] = about | ({"uid": target.uid} if target.uid else {})
    return found


def _truncated(subsets: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `_MOST` addresses, ready ones first; subsets without any are left out."""
    left = _MOST
    kept = [dict(subset) for subset in subsets]
    for field in ("addresses", "notReadyAddresses"):
        for subset in kept:
            if field in subset:
                subset[field] = subset[field][:left]
                left -= len(subset[field])
                if not subset[field]:
                    del subset[field]
    return [subset for subset in kept if "addresses" in subset or "notReadyAddresses" in subset]
