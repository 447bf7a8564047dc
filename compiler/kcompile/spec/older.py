"""EndpointSlices of discovery.k8s.io/v1beta1, as clusters before Kubernetes 1.25 wrote them."""

from __future__ import annotations

from typing import Any

from .objects import Endpoint, EndpointSlice
from .wellknown import HOSTNAME_LABEL, ZONE_LABEL

__all__ = ["EndpointSliceV1Beta1", "slice_of_v1"]


class _Endpoint(Endpoint, kw_only=True):
    topology: dict[str, str] | None = None


class EndpointSliceV1Beta1(EndpointSlice, kw_only=True):
    """Its endpoints have a topology, labels of their node, in the place of a zone and often of a nodeName."""

    endpoints: list[_Endpoint] | None = None  # type: ignore[assignment]


def slice_of_v1(old: Any) -> EndpointSlice:
    """The slice converted to v1 (pkg/apis/discovery/v1beta1/conversion.go); the host name becomes the node,
    as in proxies.
    """
    return EndpointSlice(
        metadata=old.metadata,
        address_type=old.address_type,
        endpoints=None if old.endpoints is None else [_endpoint(endpoint) for endpoint in old.endpoints],
        ports=old.ports,
    )


def _endpoint(old: _Endpoint) -> Endpoint:
    topology = old.topology or {}
    return Endpoint(
        addresses=old.addresses,
        conditions=old.conditions,
        hostname=old.hostname,
        node_name=old.node_name or topology.get(HOSTNAME_LABEL),
        zone=old.zone or topology.get(ZONE_LABEL),
        hints=old.hints,
        target_ref=old.target_ref,
    )
