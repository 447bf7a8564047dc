"""The values that an API server fills in when an object is made, before it checks it (pkg/apis/core/v1/defaults.go, discovery/v1).

What depends on the cluster (addresses, ports, families) is `allocate`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from .inventory import Inventory
from .objects import Affinity, ClientIPConfig, ContainerPort, EndpointPort, PodSpec, Service, ServiceSpec

__all__ = ["DEFAULT_AFFINITY_SECONDS", "set_defaults"]

DEFAULT_AFFINITY_SECONDS = 10800


def set_defaults(inventory: Inventory) -> None:
    """Fill in every object of `inventory`, in place. Once or twice makes no difference."""
    for service in inventory.services:
        _service(service)
    for item in inventory.endpoint_slices:
        if item.ports:
            _slice_ports(item.ports)
    for endpoints in inventory.endpoints:
        for subset in endpoints.subsets or ():
            _protocols(subset.ports or ())
    for pod in inventory.pods:
        _pod_spec(pod.spec)
    for deployment in inventory.deployments:
        _pod_spec(deployment.spec.template.spec)


def _service(service: Service) -> None:
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
    if spec.type != "ExternalName":
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


def _slice_ports(ports: Iterable[EndpointPort]) -> None:
    """SetDefaults_EndpointPort: an empty protocol isn't an absent one there."""
    for port in ports:
        if port.name is None:
            port.name = ""
        if port.protocol is None:
            port.protocol = "TCP"


def _protocols(ports: Iterable[EndpointPort | ContainerPort]) -> None:
    for port in ports:
        if not port.protocol:
            port.protocol = "TCP"


def _pod_spec(spec: PodSpec) -> None:
    for container in (*(spec.containers or ()), *(spec.init_containers or ())):
        _protocols(container.ports or ())
