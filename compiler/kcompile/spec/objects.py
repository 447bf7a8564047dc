"""The Kubernetes objects that kcompile reads, as typed structs (only the fields that matter to a service
dataplane).

Field names are the API's, camelCase in the text and snake_case here. Other fields are left out: `fields`
knows which of them the API has. `origin` is not part of the API: it says where the object was read (file,
document). The types follow k8s.io/api/core/v1, discovery/v1, apps/v1 and networking/v1 as of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

__all__ = [
    "Affinity", "ClientIPConfig", "Conditions", "Container", "ContainerPort", "CronJob", "DaemonSet",
    "Deployment", "Endpoint", "EndpointAddress", "EndpointHints", "EndpointPort", "EndpointSlice",
    "EndpointSubset", "Endpoints", "ForName", "Job", "LoadBalancerIngress", "LoadBalancerStatus",
    "Metadata", "Namespace", "Node", "NodeAddress", "NodeSpec", "NodeStatus", "Object", "ObjectReference",
    "Origin", "OwnerReference", "Pod", "PodCondition", "PodIP", "PodSpec", "PodStatus", "PodTemplate",
    "ReplicaSet", "Requirement", "Selector", "Service", "ServiceCIDR", "ServiceCIDRSpec", "ServicePort",
    "ServiceSpec", "ServiceStatus", "StatefulSet", "Taint", "Workload", "WorkloadSpec",
]  # fmt: skip


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where an object was read: `source` file name or ``<stdin>``, `document` 1-based."""

    source: str = ""
    document: int = 0


class _K8s(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    pass


class OwnerReference(_K8s):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Metadata(_K8s):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    uid: str = ""
    deletion_timestamp: str | None = None
    # What every object of a cluster has besides: read so that nothing is left over (`fields`), then
    # forgotten.
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    generate_name: str | None = None
    owner_references: list[OwnerReference] | None = None

    def forget(self) -> None:
        """Drop what is of no use any more."""
        self.resource_version = self.creation_timestamp = self.generate_name = None
        self.generation = self.owner_references = None


class Object(_K8s, kw_only=True):
    """What every object has. `kind` and `api_version` are checked by the loader before decoding."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    # Named so that no key of a manifest can set it.
    origin: Origin = msgspec.field(default=Origin(), name=" origin")

    @property
    def key(self) -> str:
        """``namespace/name``, the namespace ``default`` where none was given."""
        return f"{self.metadata.namespace or 'default'}/{self.metadata.name}"

    def says_the_same(self, other: Object) -> bool:
        """Whether both are equal but for their `origin`."""
        place, other.origin = other.origin, self.origin
        same = self == other
        other.origin = place
        return same

    def fields(self) -> dict[str, Any]:
        """The object as plain values under the API's names, without apiVersion and kind."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain.pop(" origin", None)
        return plain

    def describe(self) -> str:
        """``Kind namespace/name`` for messages (cluster-scoped kinds: ``Kind name``)."""
        kind = type(self).__name__
        return (
            f"{kind} {self.metadata.name}"
            if kind in ("Node", "Namespace", "ServiceCIDR")
            else f"{kind} {self.key}"
        )


# --- Service
# -----------------------------------------------------------------------------------------------------


class ServicePort(_K8s):
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str | None = None
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(_K8s):
    timeout_seconds: int | None = None


class Affinity(_K8s):
    client_ip: ClientIPConfig | None = msgspec.field(default=None, name="clientIP")


class ServiceSpec(_K8s):
    ports: list[ServicePort] = []
    type: str = "ClusterIP"
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    selector: dict[str, str] | None = None
    external_name: str | None = None
    external_ips: list[str] | None = msgspec.field(default=None, name="externalIPs")
    session_affinity: str | None = None
    session_affinity_config: Affinity | None = None
    external_traffic_policy: str | None = None
    internal_traffic_policy: str | None = None
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    load_balancer_source_ranges: list[str] | None = None
    load_balancer_ip: str | None = msgspec.field(default=None, name="loadBalancerIP")
    load_balancer_class: str | None = None
    allocate_load_balancer_node_ports: bool | None = None
    ip_families: list[str] | None = None
    ip_family_policy: str | None = None
    traffic_distribution: str | None = None


class LoadBalancerIngress(_K8s):
    ip: str | None = None
    hostname: str | None = None
    ip_mode: str | None = None


class LoadBalancerStatus(_K8s):
    ingress: list[LoadBalancerIngress] | None = None


class ServiceStatus(_K8s):
    load_balancer: LoadBalancerStatus | None = None


class Service(Object, kw_only=True):
    spec: ServiceSpec
    status: ServiceStatus | None = None


# --- EndpointSlice and Endpoints
# -----------------------------------------------------------------------------------


class Conditions(_K8s):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForName(_K8s):
    name: str


class EndpointHints(_K8s):
    for_zones: list[ForName] | None = None
    for_nodes: list[ForName] | None = None


class ObjectReference(_K8s):
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: str | None = None


class Endpoint(_K8s):
    addresses: list[str]
    conditions: Conditions | None = None
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(_K8s):
    port: int | None = None
    name: str | None = None
    protocol: str | None = None
    app_protocol: str | None = None


class EndpointSlice(Object, kw_only=True):
    address_type: str
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


class EndpointAddress(_K8s):
    ip: str
    hostname: str | None = None
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointSubset(_K8s):
    addresses: list[EndpointAddress] | None = None
    not_ready_addresses: list[EndpointAddress] | None = None
    ports: list[EndpointPort] | None = None


class Endpoints(Object, kw_only=True):
    subsets: list[EndpointSubset] | None = None


# --- Pods, and what makes them
# -----------------------------------------------------------------------------------------------


class ContainerPort(_K8s):
    container_port: int
    name: str = ""
    protocol: str = "TCP"


class Container(_K8s):
    name: str = ""
    image: str = ""
    ports: list[ContainerPort] | None = None


class PodSpec(_K8s):
    node_name: str | None = None
    hostname: str | None = None
    subdomain: str | None = None
    host_network: bool = False
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class PodIP(_K8s):
    ip: str


class PodCondition(_K8s):
    type: str
    status: str


class PodStatus(_K8s):
    phase: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: list[PodIP] | None = msgspec.field(default=None, name="podIPs")
    host_ip: str | None = msgspec.field(default=None, name="hostIP")
    conditions: list[PodCondition] | None = None


class Pod(Object, kw_only=True):
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus | None = None


class Requirement(_K8s):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class Selector(_K8s):
    match_labels: dict[str, str] | None = None
    match_expressions: list[Requirement] | None = None


class PodTemplate(_K8s):
    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)


class WorkloadSpec(_K8s):
    template: PodTemplate
    replicas: int | UnsetType | None = UNSET
    selector: Selector | None = None


class Workload(Object, kw_only=True):
    """What makes Pods from a template. Only the template and what it selects are read."""

    spec: WorkloadSpec

    @property
    def template(self) -> PodTemplate:
        return self.spec.template


class Deployment(Workload, kw_only=True):
    pass


class ReplicaSet(Workload, kw_only=True):
    pass


class StatefulSet(Workload, kw_only=True):
    pass


class DaemonSet(Workload, kw_only=True):
    pass


class Job(Workload, kw_only=True):
    pass


class JobTemplate(_K8s):
    spec: WorkloadSpec


class CronJobSpec(_K8s):
    job_template: JobTemplate


class CronJob(Object, kw_only=True):
    spec: CronJobSpec

    @property
    def template(self) -> PodTemplate:
        return self.spec.job_template.spec.template


# --- cluster-scoped
# ------------------------------------------------------------------------------------------------


class NodeAddress(_K8s):
    type: str
    address: str


class Taint(_K8s):
    key: str = ""


class NodeSpec(_K8s):
    pod_cidr: str | None = msgspec.field(default=None, name="podCIDR")
    pod_cidrs: list[str] | None = msgspec.field(default=None, name="podCIDRs")
    taints: list[Taint] | None = None


class NodeStatus(_K8s):
    addresses: list[NodeAddress] | None = None


class Node(Object, kw_only=True):
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class Namespace(Object, kw_only=True):
    pass


class ServiceCIDRSpec(_K8s):
    cidrs: list[str] = []


class ServiceCIDR(Object, kw_only=True):
    spec: ServiceCIDRSpec
