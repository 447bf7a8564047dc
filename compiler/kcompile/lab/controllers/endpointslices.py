"""EndpointSlices of Services with a selector (pkg/controller/endpointslice)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ...spec.complete import Groups
from ...spec.objects import Endpoint
from ..client import Client, Key, Obj
from .backends import Backends
from .pods import is_terminating
from .slices import Group, labels_of, reconcile, service_of
from .writes import Write

__all__ = ["EndpointSlices", "groups_of"]


_MANAGER = "endpointslice-controller.k8s.io"


def _made_for(each: Obj) -> Iterable[str]:
    """An index: the Service of a slice that this controller manages."""
    return service_of(each, _MANAGER)


class EndpointSlices:
    name = "endpoint-slice-controller"
    kinds = (*Backends.kinds, "EndpointSlice")

    def __init__(self, client: Client, backends: Backends) -> None:
        self._client, self._backends = client, backends

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind != "EndpointSlice":
            return self._backends.affected(kind, old, new)
        services = {service for each in (old, new) if each is not None for service in _made_for(each)}
        return [(service.split("/")[0], service.split("/")[1]) for service in services]

    def decide(self, key: Key) -> list[Write]:
        service = self._client.get("Service", *key)
        if service is None or not service["spec"].get("selector") or is_terminating(service):
            return []  # the slices of a Service that is gone go with it: they belong to it
        if service["spec"].get("type") == "ExternalName":
            return []
        pods = self._backends.pods(service)
        existing = self._client.find("EndpointSlice", _made_for, "/".join(key))
        groups = groups_of(service, self._backends.groups(service, pods))
        labels = labels_of(service, _MANAGER, headless=service["spec"].get("clusterIP") == "None")
        return reconcile(service, groups, existing, labels, service["spec"].get("ipFamilies") or ["IPv4"])


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
