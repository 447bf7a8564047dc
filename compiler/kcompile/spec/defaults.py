"""Defaults that an API server sets in a new object before it checks it (pkg/apis/core/v1/defaults.go,
discovery/v1).

In place and idempotent. Addresses, ports and families depend on the cluster: `allocate` sets them.
"""

from __future__ import annotations

from collections.abc import Iterable

from .objects import (
    Affinity,
    ClientIPConfig,
    ContainerPort,
    CronJob,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    Pod,
    PodSpec,
    Service,
    ServiceSpec,
    Workload,
)

__all__ = [
    "DEFAULT_AFFINITY_SECONDS",
    "default_endpoints",
    "default_pod",
    "default_service",
    "default_slice",
    "default_workload",
]

DEFAULT_AFFINITY_SECONDS = 10800


def default_service(service: Service) -> None:
    """SetDefaults_Service, and NormalizeClusterIPs of the Service's registry."""
    spec = service.spec
    if not spec.type:
        spec.type = "ClusterIP"
    if spec.cluster_ip and not spec.cluster_ips:
        spec.cluster_ips = [spec.cluster_ip]
    for port in spec.ports:
        if not port.protocol:
            port.protocol = "TCP"
        if not port.target_port:
            port.target_port = port.port
    if not spec.session_affinity:
        spec.session_affinity = "None"
    if spec.session_affinity == "None":
        spec.session_affinity_config = None
    elif spec.session_affinity == "ClientIP":
        _affinity(spec)
    if spec.type != "ExternalName" and (
        spec.type != "ClusterIP" or spec.external_ips or not spec.internal_traffic_policy
    ):
        _traffic(spec)
    if service.status is not None and service.status.load_balancer is not None:
        for ingress in service.status.load_balancer.ingress or ():
            if ingress.ip and ingress.ip_mode is None:
                ingress.ip_mode = "VIP"


def _affinity(spec: ServiceSpec) -> None:
    config = spec.session_affinity_config = spec.session_affinity_config or Affinity()
    client = config.client_ip = config.client_ip or ClientIPConfig()
    if client.timeout_seconds is None:
        client.timeout_seconds = DEFAULT_AFFINITY_SECONDS


def _traffic(spec: ServiceSpec) -> None:
    if spec.internal_traffic_policy is None:
        spec.internal_traffic_policy = "Cluster"
    if spec.type == "ClusterIP":
        if spec.external_ips and not spec.external_traffic_policy:
            spec.external_traffic_policy = "Cluster"
        return
    if not spec.external_traffic_policy:
        spec.external_traffic_policy = "Cluster"
    if spec.type == "LoadBalancer" and spec.allocate_load_balancer_node_ports is None:
        spec.allocate_load_balancer_node_ports = True


def default_slice(obj: EndpointSlice) -> None:
    """SetDefaults_EndpointPort: an empty protocol isn't an absent one there."""
    for port in obj.ports or ():
        if port.name is None:
            port.name = ""
        if port.protocol is None:
            port.protocol = "TCP"


def default_endpoints(obj: Endpoints) -> None:
    for subset in obj.subsets or ():
        _protocols(subset.ports or ())


def default_pod(pod: Pod) -> None:
    _pod_spec(pod.spec)


def default_workload(obj: Workload | CronJob) -> None:
    _pod_spec(obj.template.spec)


def _protocols(ports: Iterable[EndpointPort | ContainerPort]) -> None:
    for port in ports:
        if not port.protocol:
            port.protocol = "TCP"


def _pod_spec(spec: PodSpec) -> None:
    for container in (*(spec.containers or ()), *(spec.init_containers or ())):
        _protocols(container.ports or ())
