"""Warns of fields that only a control plane or a cloud acts on: one warning a field, whatever the number of
Services.
"""

from __future__ import annotations

from collections.abc import Sequence

from .inventory import Inventory
from .objects import Service
from .warnings import Notice, about
from .wellknown import MANAGED_BY_LABEL, SERVICE_LABEL

__all__ = ["without_effect"]

_TOPOLOGY = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
_LOAD_BALANCER_IP = "no effect here: no load balancer gives the address; status.loadBalancer.ingress counts"
_HINTS = "no effect here: no controller gives the hints; spec.trafficDistribution counts"


def without_effect(inventory: Inventory) -> list[Notice]:
    """A warning for each such field, in the words of its first Service."""
    notices: list[Notice] = []
    asked = [s for s in inventory.services if s.spec.load_balancer_ip and not _has_ingress(s)]
    if asked:
        notices.append(
            about(asked[0], "no-effect", "spec.loadBalancerIP", _LOAD_BALANCER_IP + _others(asked))
        )
    annotated = [service for service in inventory.services if service.metadata.annotations]
    hinted = _with_slices(inventory) if annotated else set()
    for annotation in _TOPOLOGY:
        asked = [
            s
            for s in annotated
            if _asks(s, annotation) and (s.metadata.namespace, s.metadata.name) not in hinted
        ]
        if asked:
            field = f"metadata.annotations[{annotation}]"
            notices.append(about(asked[0], "no-effect", field, _HINTS + _others(asked)))
    return notices


def _with_slices(inventory: Inventory) -> set[tuple[str, str]]:
    """Namespace and name of the Services that had slices in the input, which a controller may have given
    hints.
    """
    found = set()
    for item in inventory.endpoint_slices:
        labels = item.metadata.labels or {}
        if SERVICE_LABEL in labels and labels.get(MANAGED_BY_LABEL) != "kcompile":
            found.add((item.metadata.namespace, labels[SERVICE_LABEL]))
    return found


def _has_ingress(service: Service) -> bool:
    status = service.status
    return bool(status and status.load_balancer and status.load_balancer.ingress)


def _asks(service: Service, annotation: str) -> bool:
    value = (service.metadata.annotations or {}).get(annotation, "")
    return value.lower() not in ("", "disabled")


def _others(services: Sequence[Service]) -> str:
    more = len(services) - 1
    return f" ({more:,} more Service{'s' if more > 1 else ''} likewise)" if more else ""
