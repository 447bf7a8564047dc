"""Warns of Services that select Pods and have no endpoint, with the likely reason. Runs after `complete`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from .inventory import Inventory
from .objects import EndpointSlice, Service
from .selected import Labelled
from .text import printable
from .warnings import Notice, about
from .wellknown import SERVICE_LABEL

__all__ = ["without_endpoints"]


def without_endpoints(inventory: Inventory) -> list[Notice]:
    """One warning for each Service with a selector and no endpoint, and for each port of one that no endpoint
    has.
    """
    slices = _bound(inventory.endpoint_slices)
    notices: list[Notice] = []
    labelled: Labelled | None = None
    for service in inventory.services:
        if not service.spec.selector or service.spec.type == "ExternalName":
            continue
        own = slices.get((service.metadata.namespace, service.metadata.name), [])
        filled = [item for item in own if item.endpoints]
        if filled:
            notices += _missing_ports(service, filled)
            continue
        labelled = labelled or Labelled(inventory)
        reason = labelled.reason(service.metadata.namespace, service.spec.selector)
        if own:
            reason = f"its EndpointSlice {printable(own[0].metadata.name)} is empty; {reason}"
        notices.append(about(service, "no-endpoints", "", f"no endpoint: {reason}"))
    return notices


def _bound(slices: Iterable[EndpointSlice]) -> dict[tuple[str, str], list[EndpointSlice]]:
    bound: dict[tuple[str, str], list[EndpointSlice]] = defaultdict(list)
    for item in slices:
        if name := (item.metadata.labels or {}).get(SERVICE_LABEL):
            bound[item.metadata.namespace, name].append(item)
    return bound


def _missing_ports(service: Service, slices: Iterable[EndpointSlice]) -> Iterator[Notice]:
    """The ports whose targetPort is a name that no Pod has: their slices have no port of their name."""
    had = {port.name or "" for item in slices for port in item.ports or ()}
    for index, port in enumerate(service.spec.ports):
        if isinstance(port.target_port, str) and port.name not in had:
            text = f"no endpoint: no Pod that it selects has a port named {printable(port.target_port)}"
            yield about(service, "no-endpoints", f"spec.ports[{index}].targetPort", text)
