"""Services and EndpointSlices to the IR's ServicePorts, both families: the object filter and conversion of
pkg/proxy.

Services: serviceport.go and util/utils.go; endpoints: endpointslicecache.go. The input has been validated and
allocated. Addresses and CIDRs come out canonical, endpoints and ports sorted, so the order of the input
leaves no trace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter

from ..ir.model import Endpoint, Family, Protocol, ServicePort
from . import objects
from .addresses import canonical_cidr, canonical_ip, family_of, network
from .check_service import SCHEDULER_ANNOTATION, externally_reachable
from .defaults import DEFAULT_AFFINITY_SECONDS
from .gcpause import gc_paused
from .inventory import Inventory
from .wellknown import HEADLESS_LABEL, PROXY_NAME_LABEL, SERVICE_LABEL

__all__ = ["bound_service", "is_proxied", "ports_of", "service_ports"]

_FAMILIES = {"IPv4": Family.IPV4, "IPv6": Family.IPV6}
_PROTOCOLS = {protocol.value: protocol for protocol in Protocol}
_by_place = attrgetter("ip", "port")

_Slices = Sequence[objects.EndpointSlice]


@gc_paused()
def service_ports(inventory: Inventory) -> list[ServicePort]:
    """Every port of every Service that a proxy serves, once for each family of its clusterIPs; sorted by name
    and family.
    """
    slices = _bound_slices(inventory.endpoint_slices)
    result: list[ServicePort] = []
    for service in inventory.services:
        meta = service.metadata
        result += ports_of(service, slices.get((meta.namespace, meta.name), []))
    result.sort(key=attrgetter("name"))  # stable: the families of a port stay in order
    return result


def ports_of(service: objects.Service, slices: Sequence[objects.EndpointSlice]) -> list[ServicePort]:
    """The ports of one Service, once for each family, with the endpoints in `slices`, which are its own.

    None where no proxy serves it.
    """
    return list(_convert(service, slices)) if is_proxied(service) else []


def is_proxied(service: objects.Service) -> bool:
    """True unless ShouldSkipService of util/utils.go or the informers' label selector
    (cmd/kube-proxy/app/server.go) skips the Service.
    """
    spec, labels = service.spec, service.metadata.labels
    return (
        bool(spec.cluster_ip)
        and spec.cluster_ip != "None"
        and spec.type != "ExternalName"
        and not (labels and PROXY_NAME_LABEL in labels)
    )


def _bound_slices(
    slices: Iterable[objects.EndpointSlice],
) -> dict[tuple[str, str], list[objects.EndpointSlice]]:
    """The slices that a proxy handles, by the Service that their label names."""
    bound: dict[tuple[str, str], list[objects.EndpointSlice]] = defaultdict(list)
    for item in slices:
        name = bound_service(item)
        if name is not None:
            bound[item.metadata.namespace, name].append(item)
    return bound


def bound_service(item: objects.EndpointSlice) -> str | None:
    """The name of the Service that `item` belongs to; None for a slice that no proxy handles."""
    labels = item.metadata.labels
    if not labels or PROXY_NAME_LABEL in labels or HEADLESS_LABEL in labels:
        return None
    return labels.get(SERVICE_LABEL)


def _convert(service: objects.Service, slices: _Slices) -> Iterable[ServicePort]:
    spec, meta = service.spec, service.metadata
    ips = spec.cluster_ips or [spec.cluster_ip or ""]
    local = spec.external_traffic_policy == "Local" and externally_reachable(service)
    health = (
        spec.health_check_node_port
        if spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"
        else 0
    )
    ingress = [entry.ip for entry in _ingress(service) if entry.ip and entry.ip_mode in (None, "VIP")]
    scheduler = meta.annotations.get(SCHEDULER_ANNOTATION, "") if meta.annotations else ""
    for cluster_ip in sorted(ips, key=family_of) if len(ips) > 1 else ips:
        family = Family.IPV6 if ":" in cluster_ip else Family.IPV4
        external_ips = _of_family(spec.external_ips, family) if spec.external_ips else ()
        load_balancer_ips = _of_family(ingress, family) if ingress else ()
        source_ranges = (
            _ranges(spec.load_balancer_source_ranges, family) if spec.load_balancer_source_ranges else ()
        )
        for port in spec.ports:
            yield ServicePort(
                name=f"{meta.namespace or 'default'}/{meta.name}:{port.name}" if port.name else service.key,
                family=family,
                protocol=_PROTOCOLS[port.protocol],
                port=port.port,
                cluster_ip=cluster_ip if family is Family.IPV4 else canonical_ip(cluster_ip),
                node_port=port.node_port,
                external_ips=external_ips,
                load_balancer_ips=load_balancer_ips,
                source_ranges=source_ranges,
                external_local=local,
                internal_local=spec.internal_traffic_policy == "Local",
                affinity_seconds=_affinity(spec) if spec.session_affinity == "ClientIP" else 0,
                health_check_node_port=health,
                scheduler=scheduler,
                endpoints=_endpoints(slices, family, port.name, port.protocol),
            )


def _ingress(service: objects.Service) -> Iterable[objects.LoadBalancerIngress]:
    """As in serviceport.go, whatever the type: an API server clears it when the type changes."""
    status = service.status
    return (status.load_balancer.ingress if status and status.load_balancer else None) or ()


def _of_family(addresses: Iterable[str], family: Family) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(canonical_ip(address) for address in addresses if family_of(address) == family.value)
    )


def _ranges(ranges: Iterable[str], family: Family) -> tuple[str, ...]:
    """The family's source ranges; empty (no limit) where none is given or one covers everything."""
    own = [cidr.strip() for cidr in ranges if family_of(cidr) == family.value]
    if any(network(cidr).length == 0 for cidr in own):
        return ()
    return tuple(dict.fromkeys(map(canonical_cidr, own)))


def _affinity(spec: objects.ServiceSpec) -> int:
    config = spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return DEFAULT_AFFINITY_SECONDS if seconds is None else seconds


def _endpoints(slices: _Slices, family: Family, name: str, protocol: str) -> tuple[Endpoint, ...]:
    """The endpoints of the slice ports with this name and protocol; numbers may differ between slices."""
    found: list[Endpoint] = []
    for item in slices:
        if _FAMILIES.get(item.address_type) is family and item.endpoints:
            for port in item.ports or ():
                if port.port and (port.name or "") == name and (port.protocol or "TCP") == protocol:
                    number = port.port
                    found += [_endpoint(endpoint, number) for endpoint in item.endpoints]
    if len(found) < 2:
        return tuple(found)
    best: dict[tuple[str, int], Endpoint] = {}
    for endpoint in found:
        place = endpoint.ip, endpoint.port
        other = best.setdefault(place, endpoint)
        if other is not endpoint and _rank(endpoint) > _rank(other):
            best[place] = endpoint
    return tuple(sorted(best.values(), key=_by_place))


def _rank(endpoint: Endpoint) -> tuple[object, ...]:
    """The rank among entries for one address, of which the highest counts: those that aren't terminating,
    then an order that doesn't depend on the input's.
    """
    return (
        not endpoint.terminating,
        endpoint.ready,
        endpoint.serving,
        endpoint.node,
        endpoint.zone_hints,
        endpoint.node_hints,
    )


def _endpoint(endpoint: objects.Endpoint, port: int) -> Endpoint:
    """Only the first address counts; an absent condition means ready, serving, not terminating."""
    ip = endpoint.addresses[0]
    if ":" in ip:
        ip = canonical_ip(ip)
    conditions, hints = endpoint.conditions, endpoint.hints
    node = endpoint.node_name or ""
    if hints is None:
        zones: tuple[str, ...] = ()
        nodes: tuple[str, ...] = ()
    else:
        zones = tuple(sorted({zone.name for zone in hints.for_zones or ()}))
        nodes = tuple(sorted({hint.name for hint in hints.for_nodes or ()}))
    if conditions is None:
        return Endpoint(ip, port, node, True, True, False, zones, nodes)
    ready, serving = conditions.ready is not False, conditions.serving is not False
    return Endpoint(ip, port, node, ready, serving, conditions.terminating is True, zones, nodes)
