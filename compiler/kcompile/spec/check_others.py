"""The API server's rules for Pods, workloads, Nodes, Namespaces and ServiceCIDRs: those for the fields that
kcompile reads.
"""

from __future__ import annotations

from .addresses import BadAddress, network, unfit, unpack
from .check import (
    PROTOCOLS,
    check_choice,
    check_cidrs,
    check_labels,
    check_metadata,
    check_port_number,
    known_node,
)
from .names import DNS_LABEL, DNS_SUBDOMAIN, IANA_NAME, is_dns_label, is_dns_subdomain, is_iana_name
from .objects import Container, CronJob, Namespace, Node, Object, Pod, PodSpec, ServiceCIDR, Workload
from .text import problem, shown

__all__ = ["check_namespace", "check_node", "check_pod", "check_service_cidr", "check_workload"]

_IP_TYPES = frozenset(("InternalIP", "ExternalIP"))


def check_pod(pod: Pod) -> None:
    check_metadata(pod, is_dns_subdomain, DNS_SUBDOMAIN)
    _check_pod_spec(pod, "spec", pod.spec)
    status = pod.status
    if status is None:
        return
    if status.pod_ip and (reason := unfit(status.pod_ip)):
        raise problem(pod, "status.podIP", f"{shown(status.pod_ip)} is {reason}")
    if status.host_ip and (reason := unfit(status.host_ip)):
        raise problem(pod, "status.hostIP", f"{shown(status.host_ip)} is {reason}")
    for index, entry in enumerate(status.pod_ips or ()):
        if reason := unfit(entry.ip):
            raise problem(pod, f"status.podIPs[{index}].ip", f"{shown(entry.ip)} is {reason}")
    if status.pod_ip and status.pod_ips and status.pod_ips[0].ip != status.pod_ip:
        raise problem(
            pod,
            "status.podIPs[0].ip",
            f"{shown(status.pod_ips[0].ip)} must be the same as podIP ({status.pod_ip})",
        )


def _check_pod_spec(obj: Object, field: str, spec: PodSpec) -> None:
    if spec.node_name and not known_node(spec.node_name):
        raise problem(obj, f"{field}.nodeName", f"{shown(spec.node_name)} {DNS_SUBDOMAIN}")
    for name, value in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if value and not is_dns_label(value):
            raise problem(obj, f"{field}.{name}", f"{shown(value)} {DNS_LABEL}")
    for index, container in enumerate(spec.containers or ()):
        _check_container(obj, f"{field}.containers[{index}]", container)
    for index, container in enumerate(spec.init_containers or ()):
        _check_container(obj, f"{field}.initContainers[{index}]", container)


def _check_container(obj: Object, field: str, container: Container) -> None:
    if not is_dns_label(container.name):
        raise problem(obj, f"{field}.name", f"{shown(container.name)} {DNS_LABEL}")
    for index, port in enumerate(container.ports or ()):
        check_port_number(obj, f"{field}.ports[{index}].containerPort", port.container_port)
        check_choice(obj, f"{field}.ports[{index}].protocol", port.protocol, PROTOCOLS)
        if port.name and any(port.name == other.name for other in (container.ports or ())[:index]):
            raise problem(
                obj, f"{field}.ports[{index}].name", f"the name {shown(port.name)} is used by another port"
            )
        if port.name and not is_iana_name(port.name):
            raise problem(
                obj, f"{field}.ports[{index}].name", f"{shown(port.name)}: a port's name {IANA_NAME}"
            )


def check_node(node: Node) -> None:
    check_metadata(node, is_dns_subdomain, DNS_SUBDOMAIN)
    spec, status = node.spec, node.status
    if spec is not None:
        if spec.pod_cidr:
            check_cidrs(node, "spec.podCIDR", (spec.pod_cidr,))
        if spec.pod_cidrs:
            check_cidrs(node, "spec.podCIDRs", spec.pod_cidrs)
            if spec.pod_cidr and spec.pod_cidrs[0] != spec.pod_cidr:
                raise problem(
                    node,
                    "spec.podCIDRs[0]",
                    f"{shown(spec.pod_cidrs[0])} must be the same as podCIDR ({shown(spec.pod_cidr)})",
                )
            families = [network(cidr.strip()).version for cidr in spec.pod_cidrs]
            if len(families) != len(set(families)):
                raise problem(node, "spec.podCIDRs", "may hold one CIDR of each family at most")
    for index, entry in enumerate((status.addresses if status else None) or ()):
        if entry.type in _IP_TYPES:
            try:
                unpack(entry.address)
            except BadAddress as error:
                raise problem(
                    node, f"status.addresses[{index}].address", f"{shown(entry.address)} is {error}"
                ) from None


def check_workload(obj: Workload | CronJob) -> None:
    """Check a workload: the parts of its Pod template that kcompile reads."""
    check_metadata(obj, is_dns_subdomain, DNS_SUBDOMAIN)
    field, spec = (
        ("spec", obj.spec)
        if isinstance(obj, Workload)
        else ("spec.jobTemplate.spec", obj.spec.job_template.spec)
    )
    if isinstance(spec.replicas, int) and spec.replicas < 0:
        raise problem(obj, f"{field}.replicas", f"{shown(spec.replicas)} is negative")
    labels = spec.template.metadata.labels or {}
    check_labels(obj, f"{field}.template.metadata.labels", labels)
    wanted = (spec.selector.match_labels if spec.selector else None) or {}
    check_labels(obj, f"{field}.selector.matchLabels", wanted)
    if wanted.items() - labels.items():
        message = "must hold everything that selector.matchLabels asks for"
        raise problem(obj, f"{field}.template.metadata.labels", message)
    _check_pod_spec(obj, f"{field}.template.spec", spec.template.spec)


def check_namespace(namespace: Namespace) -> None:
    check_metadata(namespace, is_dns_label, DNS_LABEL)


def check_service_cidr(obj: ServiceCIDR) -> None:
    check_metadata(obj, is_dns_subdomain, DNS_SUBDOMAIN)
    cidrs = obj.spec.cidrs
    if not 0 < len(cidrs) < 3:
        raise problem(obj, "spec.cidrs", "one CIDR, or one of each family, is required")
    check_cidrs(obj, "spec.cidrs", cidrs)
    if len({network(cidr.strip()).version for cidr in cidrs}) < len(cidrs):
        raise problem(obj, "spec.cidrs", "two CIDRs must be one of each family")
