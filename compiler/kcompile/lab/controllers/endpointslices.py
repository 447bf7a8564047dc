"""EndpointSlices of Services with a selector (pkg/controller/endpointslice)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...spec.complete import Groups
from ...spec.objects import Endpoint
from ...spec.wellknown import MANAGED_BY_LABEL, SERVICE_LABEL
from ..client import Client, Key, Obj
from .backends import Backends
from .pods import is_terminating
from .slices import MANAGER, Group, reconcile
from .writes import Write

__all__ = ["EndpointSlices", "groups_of"]


def service_of(each: Obj) -> Iterable[str]:
    """An index: the Service of a slice that this controller manages."""
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY_LABEL) != MANAGER or SERVICE_LABEL not in labels:
        return ()
    return (f"{each['metadata']['namespace']}/{labels[SERVICE_LABEL]}",)


class EndpointSlices:
    name = "endpoint-slice-controller"
    kinds = (*Backends.kinds, "EndpointSlice")

    def __init__(self, client: Client, backends: Backends) -> None:
        self._client, self._backends = client, backends

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind != "EndpointSlice":
            return self._backends.affected(kind, old, new)
        services = {service for each in (old, new) if each is not None for service in service_of(each)}
        return [(service.split("/")[0], service.split("/")[1]) for service in services]

    def decide(self, key: Key) -> list[Write]:
        service = self._client.get("Service", *key)
        if service is None or not service["spec"].get("selector") or is_terminating(service):
            return []  # the slices of a Service that is gone go with it: they belong to it
        if service["spec"].get("type") == "ExternalName":
            return []
        pods = self._backends.pods(service)
        existing = self._client.find("EndpointSlice", service_of, "/".join(key))
        return reconcile(service, groups_of(service, self._backends.groups(service, pods)), existing)


def groups_of(service: Obj, groups: Groups) -> list[Group]:
    """Typed endpoints as the slices have them, with the appProtocol of the Service's ports."""
    ports = service["spec"].get("ports") or ()
    app_protocols = {port.get("name", ""): port.get("appProtocol", "") for port in ports}
    found = []
    for (family, resolved), endpoints in groups.items():
        named = [(name, protocol, number, app_protocols[name]) for name, protocol, number in resolved]
        found.append(Group(f"IPv{family}", tuple(sorted(named)), [_plain(each) for each in endpoints]))
    return found


def _plain(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(endpoint)
    return found
