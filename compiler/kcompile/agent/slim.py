"""Objects reduced to what rules are made of, with the API's defaults: what an agent holds of a cluster.

The object that a source gave stays as it is. What is left out neither makes a rule nor a mark: a change of a
Service's selector, of a Pod's zone, of a label.
"""

from __future__ import annotations

import sys

import msgspec

from ..spec.check_service import SCHEDULER_ANNOTATION
from ..spec.defaults import default_service, default_slice
from ..spec.objects import (
    Affinity,
    Conditions,
    Endpoint,
    EndpointSlice,
    LoadBalancerStatus,
    Metadata,
    Node,
    NodeSpec,
    NodeStatus,
    Object,
    Service,
    ServiceCIDR,
    ServiceStatus,
)
from ..spec.wellknown import SERVICE_LABEL, ZONE_LABEL

__all__ = ["slim_cidr", "slim_node", "slim_service", "slim_slice"]

_STORED = "stored"
"""The uid of every object that has one: that a cluster has stored it is all that a uid tells here."""

_replace = msgspec.structs.replace
_conditions: dict[tuple[bool | None, bool | None, bool | None], Conditions] = {}


def slim_service(service: Service) -> Service:
    """A copy for `ports_of` and `check_service`."""
    given, scheduler = service.spec, (service.metadata.annotations or {}).get(SCHEDULER_ANNOTATION)
    affinity = given.session_affinity_config
    client = affinity.client_ip if affinity is not None else None
    spec = _replace(
        given,
        ports=[_replace(port, app_protocol=None) for port in given.ports],
        selector=None,
        session_affinity_config=None if client is None else Affinity(client_ip=_replace(client)),
        traffic_distribution=None,
    )
    balancer = service.status.load_balancer if service.status is not None else None
    status = None
    if balancer is not None and balancer.ingress:
        status = ServiceStatus(LoadBalancerStatus([_replace(entry) for entry in balancer.ingress]))
    annotations = None if scheduler is None else {SCHEDULER_ANNOTATION: scheduler}
    kept = Service(
        metadata=_metadata(service, annotations=annotations), origin=service.origin, spec=spec, status=status
    )
    default_service(kept)
    return kept


def slim_slice(item: EndpointSlice, service: str) -> EndpointSlice:
    """A copy for `ports_of` and `check_slice`. `service`: the name that its label holds."""
    kept = EndpointSlice(
        metadata=_metadata(item, labels={SERVICE_LABEL: service}),
        origin=item.origin,
        address_type=sys.intern(item.address_type),
        endpoints=[_endpoint(each) for each in item.endpoints or ()],
        ports=[_replace(port) for port in item.ports or ()],
    )
    default_slice(kept)
    return kept


def slim_node(node: Node) -> Node:
    """A copy for `node_facts` and `known_hosts`."""
    zone = (node.metadata.labels or {}).get(ZONE_LABEL)
    addresses = (node.status.addresses if node.status is not None else None) or ()
    spec = NodeSpec() if node.spec is None else _replace(node.spec, taints=None)
    return Node(
        metadata=_metadata(node, labels=None if zone is None else {ZONE_LABEL: zone}),
        origin=node.origin,
        spec=spec,
        status=NodeStatus([each for each in addresses if each.type in ("InternalIP", "ExternalIP")]),
    )


def slim_cidr(cidr: ServiceCIDR) -> ServiceCIDR:
    """A copy for `settings`."""
    return ServiceCIDR(metadata=_metadata(cidr), origin=cidr.origin, spec=cidr.spec)


def _metadata(
    item: Object, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None
) -> Metadata:
    meta = item.metadata
    return Metadata(
        name=meta.name,
        namespace=sys.intern(meta.namespace),
        labels=labels,
        annotations=annotations,
        uid=_STORED if meta.uid else "",
    )


def _endpoint(endpoint: Endpoint) -> Endpoint:
    given, node = endpoint.conditions, endpoint.node_name
    shared = None
    if given is not None:
        key = given.ready, given.serving, given.terminating
        shared = _conditions.get(key)
        if shared is None:
            shared = _conditions.setdefault(key, given)
    return Endpoint(
        addresses=endpoint.addresses,
        conditions=shared,
        node_name=None if node is None else sys.intern(node),
        hints=endpoint.hints,
    )
