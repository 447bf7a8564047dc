"""ServicePorts in, a Dataplane out: the passes in their order.

Pure; the result does not depend on the input's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.model import Backend, Dataplane, Endpoint, Family, Frontend, FrontendKind, ResolvedPort, ServicePort
from ..ir.node import NodeFacts, Settings
from .conflicts import without_conflicts
from .endpoints import usable
from .guard import allowed_sources
from .health import health_checks
from .policy import cluster_ip_policy, external_policy, rejecting_policy
from .topology import prefer_close

__all__ = ["resolve", "resolve_port"]


def resolve(ports: Iterable[ServicePort], node: NodeFacts, settings: Settings) -> Dataplane:
    """Settle every semantic of `ports` for `node`; see the package's docstring for the passes."""
    ordered = sorted(ports, key=lambda p: (p.name, p.protocol.value, p.family.value))
    resolved, notices = without_conflicts([resolve_port(p, node, settings) for p in ordered])
    return Dataplane(node, settings, tuple(resolved), health_checks(ordered, node.name), tuple(notices))


def resolve_port(port: ServicePort, node: NodeFacts, settings: Settings) -> ResolvedPort:
    """One service port settled: depends on nothing but its arguments, so an agent redoes only the ports that
    changed.
    """
    endpoints = port.endpoints
    externally = bool(port.node_port or port.external_ips or port.load_balancer_ips)
    external_local = port.external_local and externally
    candidates = usable(endpoints)
    # UsesClusterEndpoints: external traffic needs them even when its policy is Local, for the short circuit
    # of insiders.
    cluster: tuple[Backend, ...] = ()
    if externally or not port.internal_local:
        chosen = (
            prefer_close(candidates, node.name, node.zone)
            if candidates and candidates[0].ready
            else candidates
        )
        cluster = _backends(chosen, node.name)
    local: tuple[Backend, ...] = ()
    if port.internal_local or external_local:
        local = (
            _backends(usable([e for e in endpoints if e.node == node.name]), node.name) if node.name else ()
        )
    return ResolvedPort(
        name=port.name,
        family=port.family,
        protocol=port.protocol,
        frontends=_frontends(port, node, settings, bool(candidates), bool(local), external_local),
        cluster=cluster,
        local=local,
        affinity_seconds=port.affinity_seconds,
        scheduler=port.scheduler,
        serving=tuple([(e.ip, e.port) for e in endpoints if e.serving]),
    )


def _backends(endpoints: Sequence[Endpoint], node: str) -> tuple[Backend, ...]:
    # An endpoint without a node name may well be a pod of this node: it costs one rule to let it call itself.
    found = [Backend(e.ip, e.port, e.node == node, not e.node or e.node == node) for e in endpoints]
    if len(found) > 1:
        found.sort(key=lambda b: (b.ip, b.port))
    return tuple(found)


def _frontends(
    port: ServicePort,
    node: NodeFacts,
    settings: Settings,
    has_endpoints: bool,
    has_local: bool,
    external_local: bool,
) -> tuple[Frontend, ...]:
    compat, version = settings.compat, port.family.value
    detects = settings.detector.active(version)
    ranges: tuple[str, ...] = ()
    if port.source_ranges and (has_endpoints or compat.ranges_guard_empty):
        own = next((a for a in node.addresses if (":" in a) is (port.family is Family.IPV6)), "")
        ranges = allowed_sources(port.source_ranges, port.load_balancer_ips, own)
    if has_endpoints:
        inside = cluster_ip_policy(port.internal_local, has_local, detects, settings.masquerade_all)
    else:
        inside = rejecting_policy(FrontendKind.CLUSTER_IP, True)
    frontends = [Frontend(FrontendKind.CLUSTER_IP, port.cluster_ip, port.port, inside)]

    def add(kind: FrontendKind, address: str, number: int, sources: tuple[str, ...] = ()) -> None:
        if has_endpoints:
            policy = external_policy(external_local, has_local, detects)
        else:
            policy = rejecting_policy(kind, compat.reject_host_to_empty_external)
        frontends.append(Frontend(kind, address, number, policy, sources))

    taken = {port.cluster_ip}
    # The API allows one address to be an externalIP and a load-balancer VIP; the first rule of kube-proxy's
    # chain wins.
    for address in port.external_ips:
        if address not in taken:
            taken.add(address)
            add(FrontendKind.EXTERNAL_IP, address, port.port)
    for address in port.load_balancer_ips:
        if address not in taken:
            taken.add(address)
            add(FrontendKind.LOAD_BALANCER, address, port.port, ranges)
    if port.node_port:
        add(FrontendKind.NODE_PORT, "", port.node_port)
    return tuple(frontends)
