"""The API server's rules for a Service (ValidateService in pkg/apis/core/validation): those for the fields
that make rules.
"""

from __future__ import annotations

from .addresses import BadAddress, family_of, is_ip, unfit, unpack
from .check import (
    FAMILIES,
    PROTOCOLS,
    check_choice,
    check_cidrs,
    check_labels,
    check_metadata,
    check_port_number,
)
from .names import (
    DNS_LABEL,
    DNS_SUBDOMAIN,
    IANA_NAME,
    QUALIFIED_NAME,
    is_dns_label,
    is_dns_subdomain,
    is_iana_name,
    is_label_key,
)
from .objects import Service, ServicePort, ServiceSpec
from .text import problem, shown

__all__ = ["SCHEDULERS", "SCHEDULER_ANNOTATION", "check_service", "externally_reachable"]

SCHEDULER_ANNOTATION = "kcompile.dev/ipvs-scheduler"
SCHEDULERS = frozenset(
    ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "fo", "ovf", "mh")
)

_TYPES = frozenset(("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))
_TRAFFIC = frozenset(("Cluster", "Local"))
_AFFINITIES = frozenset(("None", "ClientIP"))
_POLICIES = frozenset(("SingleStack", "PreferDualStack", "RequireDualStack"))
_DISTRIBUTIONS = frozenset(("PreferClose", "PreferSameZone", "PreferSameNode"))
_IP_MODES = frozenset(("VIP", "Proxy"))
_MAX_AFFINITY = 86400
_KUBELET_PORT = 10250


def externally_reachable(service: Service) -> bool:
    """ExternallyAccessible of pkg/api/v1/service/util.go: externalTrafficPolicy has a meaning."""
    spec = service.spec
    return spec.type in ("NodePort", "LoadBalancer") or (spec.type == "ClusterIP" and bool(spec.external_ips))


def check_service(service: Service) -> None:
    """Raise the first problem of one Service, which has the API's defaults; no other object is looked at."""
    check_metadata(service, is_dns_label, DNS_LABEL)
    spec = service.spec
    check_choice(service, "spec.type", spec.type, _TYPES)
    _check_ports(service)
    _check_cluster_ips(service)
    if spec.selector:
        check_labels(service, "spec.selector", spec.selector)
    if spec.session_affinity != "None":
        _check_affinity(service)
    if spec.internal_traffic_policy is not None:
        check_choice(service, "spec.internalTrafficPolicy", spec.internal_traffic_policy, _TRAFFIC)
    if spec.traffic_distribution is not None:
        check_choice(service, "spec.trafficDistribution", spec.traffic_distribution, _DISTRIBUTIONS)
    if spec.external_ips:
        _check_external_ips(service)
    if spec.external_traffic_policy:  # an empty one is unset, as in the API
        _check_external_traffic_policy(service, spec.external_traffic_policy)
    if spec.type == "LoadBalancer":
        _check_load_balancer(service)
    else:
        _check_not_load_balancer(service)
    if spec.health_check_node_port:
        _check_health_port(service)
    if spec.type == "ExternalName":
        _check_external_name(service)
    if service.metadata.annotations:
        _check_annotations(service, service.metadata.annotations)
    if service.status is not None:
        _check_status(service)


def _check_ports(service: Service) -> None:
    spec = service.spec
    ports = spec.ports
    if len(ports) == 1:
        _check_port(service, 0, ports[0])
        return
    if not ports and spec.type != "ExternalName" and spec.cluster_ip != "None":
        raise problem(service, "spec.ports", "at least one port is required")
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    node_ports: dict[int, list[ServicePort]] = {}
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        if not port.name:
            raise problem(service, f"{field}.name", "a name is required where there is more than one port")
        _check_port(service, index, port)
        if port.name in names:
            raise problem(
                service,
                f"{field}.name",
                f"the name {shown(port.name)} is used by another port of this Service",
            )
        names.add(port.name)
        if (port.port, port.protocol) in numbers:
            raise problem(service, field, f"port {port.port}/{port.protocol} occurs twice in this Service")
        numbers.add((port.port, port.protocol))
        if port.node_port:
            _check_node_port(service, index, node_ports)


def _check_node_port(service: Service, index: int, seen: dict[int, list[ServicePort]]) -> None:
    """One number may serve several protocols of one port (svcPortToNodePort in alloc.go).

    `seen`: the ports before, by nodePort.
    """
    port = service.spec.ports[index]
    field = f"spec.ports[{index}].nodePort"
    for other in seen.setdefault(port.node_port, []):
        if other.protocol == port.protocol:
            raise problem(
                service, field, f"nodePort {port.node_port}/{port.protocol} occurs twice in this Service"
            )
        if other.port != port.port and service.spec.type != "ExternalName":
            raise problem(
                service, field, f"nodePort {port.node_port} is that of port {other.port} of this Service"
            )
    seen[port.node_port].append(port)


def _check_port(service: Service, index: int, port: ServicePort) -> None:
    if port.name and not is_dns_label(port.name):
        raise problem(service, f"spec.ports[{index}].name", f"{shown(port.name)} {DNS_LABEL}")
    if not 0 < port.port < 65536:
        check_port_number(service, f"spec.ports[{index}].port", port.port)
    if port.protocol not in PROTOCOLS:
        check_choice(service, f"spec.ports[{index}].protocol", port.protocol, PROTOCOLS)
    target = port.target_port
    if isinstance(target, str):
        if not is_iana_name(target):
            raise problem(
                service, f"spec.ports[{index}].targetPort", f"{shown(target)}: a port's name {IANA_NAME}"
            )
    elif target is not None and not 0 < target < 65536:
        check_port_number(service, f"spec.ports[{index}].targetPort", target)
    if port.app_protocol is not None and not is_label_key(port.app_protocol):
        raise problem(
            service, f"spec.ports[{index}].appProtocol", f"{shown(port.app_protocol)} {QUALIFIED_NAME}"
        )
    if port.node_port and service.spec.type != "ExternalName":  # which has no use for one, and may keep it
        check_port_number(service, f"spec.ports[{index}].nodePort", port.node_port)
        if service.spec.type == "ClusterIP":
            raise problem(service, f"spec.ports[{index}].nodePort", "may not be set for type ClusterIP")


def _check_cluster_ips(service: Service) -> None:
    """ValidateServiceClusterIPsRelatedFields, and what initIPFamilyFields of the registry asks besides."""
    spec = service.spec
    ip, ips, families = spec.cluster_ip or "", spec.cluster_ips or [], spec.ip_families or []
    if _is_plain(ip, ips, families, spec):
        return
    if spec.type == "ExternalName":
        _refuse_address_fields(service)
        return
    if spec.ip_family_policy is not None:
        check_choice(service, "spec.ipFamilyPolicy", spec.ip_family_policy, _POLICIES)
    _check_families(service, families)
    if ips:
        _check_ip_list(service, ip, ips)
    if ip == "None":
        if spec.type != "ClusterIP":
            raise problem(service, "spec.clusterIPs[0]", f"may not be None for type {spec.type}")
        if not spec.selector:
            return  # both families, whatever the policy
    else:
        _check_families_of_ips(service, ips, families)
    _check_dual_stack_policy(service, ips, families)
    if ip != "None":
        _check_fit(service, ips)


def _refuse_address_fields(service: Service) -> None:
    spec = service.spec
    if spec.cluster_ips:
        raise problem(service, "spec.clusterIPs", "may not be set for type ExternalName")
    if spec.ip_families:
        raise problem(service, "spec.ipFamilies", "may not be set for type ExternalName")
    if spec.ip_family_policy is not None:
        raise problem(service, "spec.ipFamilyPolicy", "may not be set for type ExternalName")


def _check_families(service: Service, families: list[str]) -> None:
    for index, family in enumerate(families):
        if family not in FAMILIES:
            check_choice(service, f"spec.ipFamilies[{index}]", family, FAMILIES)
        if family in families[:index]:
            raise problem(service, f"spec.ipFamilies[{index}]", f"{family} occurs twice")


def _check_families_of_ips(service: Service, ips: list[str], families: list[str]) -> None:
    for index, (family, address) in enumerate(zip(families, ips, strict=False)):
        if family_of(address) != int(family[-1]):
            message = f"{shown(address)} is not of the family that ipFamilies[{index}] names ({family})"
            raise problem(service, f"spec.clusterIPs[{index}]", message)


def _check_dual_stack_policy(service: Service, ips: list[str], families: list[str]) -> None:
    if service.spec.ip_family_policy not in (None, "SingleStack"):
        return
    if len(ips) > 1 or len(families) > 1:
        field = "clusterIPs" if len(ips) > 1 else "ipFamilies"
        message = f"must be RequireDualStack or PreferDualStack where {field} has two entries"
        raise problem(service, "spec.ipFamilyPolicy", message)


def _check_fit(service: Service, ips: list[str]) -> None:
    for address in ips:
        if reason := unfit(address):
            raise problem(service, "spec.clusterIPs", f"{shown(address)} is {reason}")


def _is_plain(ip: str, ips: list[str], families: list[str], spec: ServiceSpec) -> bool:
    """True if the Service has one valid address: the common case, checked in a few steps."""
    return (
        spec.ip_family_policy == "SingleStack"
        and spec.type != "ExternalName"
        and len(ips) == 1
        and ips[0] == ip
        and len(families) == 1
        and families[0] in FAMILIES
        and not unfit(ip, 4 if families[0] == "IPv4" else 16)
    )


def _check_ip_list(service: Service, ip: str, ips: list[str]) -> None:
    if ips[0] != ip:
        if not ip:
            raise problem(service, "spec.clusterIPs", "must be empty where clusterIP is not set")
        raise problem(
            service,
            "spec.clusterIPs",
            f"its first entry ({shown(ips[0])}) must be the same as clusterIP ({shown(ip)})",
        )
    if len(ips) > 2:
        raise problem(service, "spec.clusterIPs", "may hold two addresses at most, one of each family")
    if ip == "None":
        if len(ips) > 1:
            raise problem(service, "spec.clusterIPs", "must hold None alone where clusterIP is None")
        return
    for index, address in enumerate(ips):
        if not is_ip(address):
            raise problem(service, f"spec.clusterIPs[{index}]", f"{shown(address)} is {unfit(address)}")
    if len(ips) == 2 and family_of(ips[0]) == family_of(ips[1]):
        raise problem(service, "spec.clusterIPs", "two addresses must be one of each family")


def _check_affinity(service: Service) -> None:
    """Check a sessionAffinity of ClientIP; for None the defaults have removed its configuration."""
    spec = service.spec
    check_choice(service, "spec.sessionAffinity", spec.session_affinity or "", _AFFINITIES)
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    if seconds is not None and not 0 < seconds <= _MAX_AFFINITY:
        raise problem(
            service,
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            f"{shown(seconds)} is not in 1-{_MAX_AFFINITY}",
        )


def _check_external_traffic_policy(service: Service, policy: str) -> None:
    field = "spec.externalTrafficPolicy"
    check_choice(service, field, policy, _TRAFFIC)
    if not externally_reachable(service):
        raise problem(service, field, "only for type NodePort or LoadBalancer, or with externalIPs")


def _check_annotations(service: Service, annotations: dict[str, str]) -> None:
    if SCHEDULER_ANNOTATION in annotations:
        field = f'metadata.annotations["{SCHEDULER_ANNOTATION}"]'
        check_choice(service, field, annotations[SCHEDULER_ANNOTATION], SCHEDULERS)


def _check_external_ips(service: Service) -> None:
    for index, address in enumerate(service.spec.external_ips or ()):
        if reason := unfit(address):
            raise problem(service, f"spec.externalIPs[{index}]", f"{shown(address)} is {reason}")


def _check_load_balancer(service: Service) -> None:
    spec = service.spec
    if spec.load_balancer_source_ranges:
        field = "spec.loadBalancerSourceRanges"
        # what a cluster has stored it has taken, from a time when it was less strict
        check_cidrs(service, field, spec.load_balancer_source_ranges, host_bits=bool(service.metadata.uid))
    if spec.load_balancer_class is not None and not is_label_key(spec.load_balancer_class):
        raise problem(
            service, "spec.loadBalancerClass", f"{shown(spec.load_balancer_class)} {QUALIFIED_NAME}"
        )
    for index, port in enumerate(spec.ports):
        if port.port == _KUBELET_PORT:
            raise problem(
                service,
                f"spec.ports[{index}].port",
                f"{port.port} is the kubelet's, which may not be exposed",
            )


def _check_not_load_balancer(service: Service) -> None:
    spec = service.spec
    for field, is_set in (
        ("loadBalancerSourceRanges", bool(spec.load_balancer_source_ranges)),
        ("loadBalancerClass", spec.load_balancer_class is not None),
        ("allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports is not None),
    ):
        if is_set:
            raise problem(service, f"spec.{field}", f"only for type LoadBalancer, not {spec.type}")


def _check_health_port(service: Service) -> None:
    spec = service.spec
    port, field = spec.health_check_node_port, "spec.healthCheckNodePort"
    check_port_number(service, field, port)
    if spec.type != "LoadBalancer" or spec.external_traffic_policy != "Local":
        raise problem(service, field, "only for type LoadBalancer with externalTrafficPolicy Local")
    if any(port == other.node_port for other in spec.ports):
        raise problem(service, field, f"{port} is a nodePort of this Service too")


def _check_external_name(service: Service) -> None:
    name = service.spec.external_name
    if not name:
        raise problem(service, "spec.externalName", "is required for type ExternalName")
    if not is_dns_subdomain(name.removesuffix(".")):
        raise problem(service, "spec.externalName", f"{shown(name)} {DNS_SUBDOMAIN}")


def _check_status(service: Service) -> None:
    """ValidateLoadBalancerStatus.

    Link-local addresses pass, as there; those that would catch the node's own traffic don't.
    """
    status = service.status.load_balancer if service.status else None
    for index, ingress in enumerate((status.ingress if status else None) or ()):
        field = f"status.loadBalancer.ingress[{index}]"
        if ingress.ip:
            try:
                unpack(ingress.ip)
            except BadAddress as error:
                raise problem(service, f"{field}.ip", f"{shown(ingress.ip)} is {error}") from None
            reason = unfit(ingress.ip)
            if reason and "link-local" not in reason:
                raise problem(service, f"{field}.ip", f"{shown(ingress.ip)} is {reason}")
        if ingress.ip_mode is not None:
            check_choice(service, f"{field}.ipMode", ingress.ip_mode, _IP_MODES)
            if not ingress.ip:
                raise problem(service, f"{field}.ipMode", "may not be set without an ip")
        if ingress.hostname and not is_dns_subdomain(ingress.hostname):
            raise problem(service, f"{field}.hostname", f"{shown(ingress.hostname)} {DNS_SUBDOMAIN}")
