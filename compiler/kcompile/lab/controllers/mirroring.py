"""EndpointSlices from Endpoints objects that somebody has made (pkg/controller/endpointslicemirroring).

For Services without a selector: the endpoints controller makes the others, and their slices come from Pods.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ...spec.decode import typed
from ...spec.mirror import mirror
from ...spec.objects import Endpoints, EndpointSlice, Service
from ..client import Client, Key, Obj
from .pods import is_terminating
from .slices import Group, labels_of, reconcile, service_of
from .writes import Delete, Write

__all__ = ["MirroredEndpoints"]

_MANAGER = "endpointslicemirroring-controller.k8s.io"


def _mirrored(each: Obj) -> Iterable[str]:
    """An index: the Endpoints object that a slice mirrors."""
    return service_of(each, _MANAGER)


class MirroredEndpoints:
    name = "endpoint-slice-mirroring-controller"
    kinds = ("Endpoints", "Service", "EndpointSlice")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "EndpointSlice":
            names = {name for each in (old, new) if each is not None for name in _mirrored(each)}
            return [(name.split("/")[0], name.split("/")[1]) for name in names]
        meta = (new or old or {})["metadata"]
        return [(meta["namespace"], meta["name"])]

    def decide(self, key: Key) -> list[Write]:
        endpoints, service = self._client.get("Endpoints", *key), self._client.get("Service", *key)
        existing = self._client.find("EndpointSlice", _mirrored, "/".join(key))
        if (
            endpoints is None
            or service is None
            or service["spec"].get("selector")
            or is_terminating(endpoints)
        ):
            return [Delete(each) for each in existing]
        made = mirror(typed(endpoints, Endpoints), typed(service, Service))
        labels = labels_of(endpoints, _MANAGER, headless=service["spec"].get("clusterIP") == "None")
        return reconcile(endpoints, _groups(made), existing, labels)


def _groups(slices: Iterable[EndpointSlice]) -> list[Group]:
    """Subsets with the same ports together."""
    found: dict[tuple[str, tuple[tuple[str, str, int, str], ...]], Group] = {}
    for each in slices:
        named = ((port.name or "", port.protocol or "TCP", port.port or 0, "") for port in each.ports or ())
        ports = tuple(sorted(named))
        group = found.setdefault((each.address_type, ports), Group(each.address_type, ports, []))
        group.endpoints.extend(msgspec.to_builtins(each.endpoints or []))
    return list(found.values())
