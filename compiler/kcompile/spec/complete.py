"""EndpointSlices for Services that have none in the input, as the controllers would make them.

From Pods: pkg/controller/endpointslice and k8s.io/endpointslice (podToEndpoint, getEndpointPorts,
trafficdist). From Endpoints objects: mirror.py. A Service with slices of its own in the input uses these and
nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from .gcpause import gc_paused
from .inventory import Inventory
from .mirror import mirror
from .objects import (
    Conditions,
    Container,
    Endpoint,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForName,
    Metadata,
    ObjectReference,
    Pod,
    Service,
    ServicePort,
)
from .wellknown import HEADLESS_LABEL, MANAGED_BY_LABEL, SERVICE_LABEL, ZONE_LABEL

__all__ = ["complete", "endpoint_groups", "slices_from_pods"]


@gc_paused()
def complete(inventory: Inventory) -> None:
    """Append the missing slices to `inventory.endpoint_slices`.

    Run it after `allocate`, which settles a Service's families.
    """
    bound = {
        (s.metadata.namespace, (s.metadata.labels or {}).get(SERVICE_LABEL))
        for s in inventory.endpoint_slices
    }
    endpoints = {obj.key: obj for obj in inventory.endpoints}
    index = _PodIndex(inventory.pods)
    zones = {node.metadata.name: (node.metadata.labels or {}).get(ZONE_LABEL, "") for node in inventory.nodes}
    for service in inventory.services:
        if (
            service.spec.type == "ExternalName"
            or (service.metadata.namespace, service.metadata.name) in bound
        ):
            continue
        pods = index.select(service) if service.spec.selector else []
        if pods:
            inventory.endpoint_slices += slices_from_pods(service, pods, zones)
        elif service.key in endpoints:
            inventory.endpoint_slices += mirror(endpoints[service.key], service)


class _PodIndex:
    """Pods by namespace and label, so that a selector looks only at the Pods of its rarest label."""

    def __init__(self, pods: Iterable[Pod]) -> None:
        self._by_label: dict[tuple[str, str, str], list[Pod]] = defaultdict(list)
        for pod in pods:
            for key, value in (pod.metadata.labels or {}).items():
                self._by_label[pod.metadata.namespace, key, value].append(pod)

    def select(self, service: Service) -> list[Pod]:
        return self.matching(service.metadata.namespace, service.spec.selector or {})

    def matching(self, namespace: str, selector: dict[str, str]) -> list[Pod]:
        rarest = min((self._by_label.get((namespace, *pair), []) for pair in selector.items()), key=len)
        return [pod for pod in rarest if selector.items() <= (pod.metadata.labels or {}).items()]


Groups = dict[tuple[int, tuple[tuple[str, str, int], ...]], list[Endpoint]]
"""Endpoints by IP family (4 or 6) and by their ports: name, protocol, number."""


def endpoint_groups(service: Service, pods: Iterable[Pod], zones: Mapping[str, str]) -> Groups:
    """The endpoints that go into slices together. `zones`: of the nodes, where known."""
    groups: Groups = defaultdict(list)
    families = [int(name[-1]) for name in service.spec.ip_families or ("IPv4", "IPv6")]
    for pod in pods:
        status = pod.status
        if status is None or status.phase in ("Succeeded", "Failed"):
            continue
        addresses = [entry.ip for entry in status.pod_ips or ()] or ([status.pod_ip] if status.pod_ip else [])
        ports = tuple(_resolved(service, pod))
        for family in families:
            address = next((a for a in addresses if (":" in a) == (family == 6)), None)
            if address is not None:
                groups[family, ports].append(_endpoint(service, pod, address, zones))
    return groups


def slices_from_pods(
    service: Service, pods: Iterable[Pod], zones: Mapping[str, str] | None = None
) -> list[EndpointSlice]:
    """One slice for each family and each set of resolved ports.

    `zones`: the zone of each node, where known.
    """
    groups = endpoint_groups(service, pods, zones or {})
    labels = {SERVICE_LABEL: service.metadata.name, MANAGED_BY_LABEL: "kcompile"}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS_LABEL] = ""
    slices = []
    for number, ((family, ports), endpoints) in enumerate(
        sorted(groups.items(), key=lambda group: group[0]), 1
    ):
        slices.append(
            EndpointSlice(
                metadata=Metadata(
                    name=f"{service.metadata.name}-ipv{family}-{number}",
                    namespace=service.metadata.namespace,
                    labels=dict(labels),
                ),
                origin=service.origin,
                address_type=f"IPv{family}",
                endpoints=endpoints,
                ports=[
                    EndpointPort(port=port, name=name, protocol=protocol) for name, protocol, port in ports
                ],
            )
        )
    return slices


def _resolved(service: Service, pod: Pod) -> Iterable[tuple[str, str, int]]:
    """The Service's ports with this Pod's numbers, without those whose name the Pod lacks (FindPort)."""
    for port in service.spec.ports:
        number = _target(port, pod)
        if number is not None:
            yield port.name, port.protocol, number


def _target(port: ServicePort, pod: Pod) -> int | None:
    if not isinstance(port.target_port, str):
        return port.target_port or port.port
    containers: list[Container] = [*(pod.spec.containers or ()), *(pod.spec.init_containers or ())]
    for container in containers:
        for candidate in container.ports or ():
            if candidate.name == port.target_port and candidate.protocol == port.protocol:
                return candidate.container_port
    return None


def _is_ready(pod: Pod) -> bool:
    """The Ready condition; without conditions, as in a Pod written by hand: phase Running, or no phase."""
    status = pod.status
    if status is None or not status.conditions:
        return status is not None and status.phase in (None, "Running")
    return any(condition.type == "Ready" and condition.status == "True" for condition in status.conditions)


def _endpoint(service: Service, pod: Pod, address: str, zones: Mapping[str, str]) -> Endpoint:
    serving, terminating = _is_ready(pod), pod.metadata.deletion_timestamp is not None
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    node = pod.spec.node_name
    zone = zones.get(node or "") or None
    return Endpoint(
        addresses=[address],
        conditions=Conditions(ready=ready, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname
        if pod.spec.hostname and pod.spec.subdomain == service.metadata.name
        else None,
        node_name=node,
        zone=zone,
        hints=_hints(service, node, zone) if ready else None,
        target_ref=ObjectReference(
            "Pod", pod.metadata.name, pod.metadata.namespace, pod.metadata.uid or None
        ),
    )


def _hints(service: Service, node: str | None, zone: str | None) -> EndpointHints | None:
    """trafficDistribution as the slice controller spells it out for the proxies
    (trafficdist.ReconcileHintsForSlices).
    """
    wanted = service.spec.traffic_distribution
    zones = [ForName(zone)] if wanted and zone else None
    nodes = [ForName(node)] if wanted == "PreferSameNode" and node else None
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None
