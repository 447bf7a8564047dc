"""What one Service does on a node, and why: its frontends, each endpoint, the rules."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..errors import InputError
from ..ir.model import Dataplane, Disposition, Frontend, FrontendKind, ResolvedPort, ServicePort, Verdict
from ..passes.reasons import reason_unused
from ..program import Key, Program
from ..spec.convert import service_ports
from ..targets.base import Target
from ..trace.clients import place
from .compile import Compiled

__all__ = ["EndpointUse", "Explanation", "Listens", "Resource", "Source", "explain"]


class Source(msgspec.Struct, frozen=True, rename="camel"):
    """What new connections of one class of clients get.

    `clients`: ``pods`` (local ones, by the detector), ``node`` or ``others``. `verdict`: ``dnat``,
    ``reject``, ``drop`` or ``pass``; `pool`: ``cluster`` or ``local``, with ``dnat``.
    """

    clients: str
    verdict: str
    pool: str = ""
    masqueraded: bool = False


class Listens(msgspec.Struct, frozen=True, rename="camel"):
    """A frontend. `address` is ``*`` for a NodePort: `addresses` are those that it answers on, where known.

    `source_ranges`: clients outside of them are dropped; empty: no limit.
    """

    kind: str
    address: str
    port: int
    sources: tuple[Source, ...]
    source_ranges: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class EndpointUse(msgspec.Struct, frozen=True, rename="camel"):
    """An endpoint: whether new connections may go to it, and why not. `pools`: cluster, local."""

    address: str
    node: str
    used: bool
    pools: tuple[str, ...] = ()
    why_not: str = ""


class Resource(msgspec.Struct, frozen=True, rename="camel"):
    """A rule, chain, entry or server. `shared`: other Services use it too.

    `live`: ``present``, ``missing`` or ``different`` in the kernel; empty where nobody looked.
    """

    text: str
    shared: bool = False
    live: str = ""


class Explanation(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One port of one Service in one IP family, on one node in one mode.

    `service` is ``namespace/name:port``. `affinity_seconds`: 0 without session affinity.
    """

    service: str
    mode: str
    family: int
    protocol: str
    internal_policy: str
    external_policy: str
    affinity_seconds: int
    frontends: tuple[Listens, ...]
    endpoints: tuple[EndpointUse, ...]
    resources: tuple[Resource, ...]


def explain(compiled: Compiled, asked: str, observed: Program | None = None) -> list[Explanation]:
    """The ports of the Service that `asked` names: ``name``, ``namespace/name``, or ``address:port``.

    :param observed: what the kernel holds, to compare the resources with
    :raises InputError: where no Service is meant, or none that has rules
    """
    ports = {(p.name, p.family, p.protocol): p for p in service_ports(compiled.cluster.inventory)}
    dataplane = compiled.dataplane
    chosen = _asked(dataplane, asked)
    if not chosen:
        raise InputError(_nothing(compiled, asked))
    target = compiled.mode.target()
    empty = target.lower(msgspec.structs.replace(dataplane, ports=()))
    others = _others(target, dataplane, chosen)
    return [
        _explanation(
            compiled,
            ports[port.name, port.family, port.protocol],
            port,
            _resources(target, dataplane, port, empty, others, observed),
        )
        for port in chosen
    ]


def _asked(dataplane: Dataplane, asked: str) -> list[ResolvedPort]:
    """The resolved ports that `asked` names."""
    address, port = _address_and_port(asked)
    if address:
        return [
            candidate
            for candidate in dataplane.ports
            for frontend in candidate.frontends
            if frontend.port == port and _answers(dataplane, frontend, candidate, address)
        ]
    key = asked if "/" in asked else f"default/{asked}"
    named = [port for port in dataplane.ports if port.name.partition(":")[0] == key or port.name == key]
    if named or "/" in asked:
        return named
    elsewhere = [port for port in dataplane.ports if port.name.partition(":")[0].endswith(f"/{asked}")]
    return elsewhere if len({port.name.partition("/")[0] for port in elsewhere}) == 1 else []


def _address_and_port(asked: str) -> tuple[str, int]:
    """An address and a port, or an empty address where `asked` is a name."""
    address, _, port = asked.rpartition(":")
    try:
        return ipaddress.ip_address(address.strip("[]")).compressed, int(port)
    except ValueError:
        return "", 0


def _answers(dataplane: Dataplane, frontend: Frontend, port: ResolvedPort, address: str) -> bool:
    if frontend.kind is not FrontendKind.NODE_PORT:
        return frontend.address == address
    version = port.family.value
    if (":" in address) is not (version == 6):
        return False
    return address in (dataplane.node.node_ports(version) or dataplane.node.addresses)


def _nothing(compiled: Compiled, asked: str) -> str:
    """Why nothing has rules for what was asked."""
    address, port = _address_and_port(asked)
    if address:
        return f"explain {asked}: no Service answers on {address} port {port}"
    for service in compiled.cluster.inventory.services:
        if service.key in (asked, f"default/{asked}"):
            if service.spec.type == "ExternalName":
                return f"explain {asked}: Service {service.key} is an ExternalName: a DNS record, no rules"
            if service.spec.cluster_ip == "None":
                return f"explain {asked}: Service {service.key} is headless: DNS records, no rules"
            return f"explain {asked}: Service {service.key} is left to another proxy, or has no port"
    return f"explain {asked}: no such Service in the input"


def _explanation(
    compiled: Compiled, given: ServicePort, port: ResolvedPort, resources: tuple[Resource, ...]
) -> Explanation:
    node = compiled.dataplane.node
    return Explanation(
        service=port.name,
        mode=compiled.mode.name,
        family=port.family.value,
        protocol=port.protocol.value,
        internal_policy="Local" if given.internal_local else "Cluster",
        external_policy="Local" if given.external_local else "Cluster",
        affinity_seconds=port.affinity_seconds,
        frontends=tuple(_listens(frontend, compiled.dataplane, port) for frontend in port.frontends),
        endpoints=tuple(
            EndpointUse(
                address=place(endpoint.ip, endpoint.port),
                node=endpoint.node,
                used=not (why := reason_unused(endpoint, given.endpoints, port, node.name, node.zone)),
                pools=_pools(port, endpoint.ip, endpoint.port),
                why_not=why,
            )
            for endpoint in given.endpoints
        ),
        resources=resources,
    )


def _pools(port: ResolvedPort, ip: str, number: int) -> tuple[str, ...]:
    pools = (("cluster", port.cluster), ("local", port.local))
    return tuple(name for name, pool in pools if any((b.ip, b.port) == (ip, number) for b in pool))


def _listens(frontend: Frontend, dataplane: Dataplane, port: ResolvedPort) -> Listens:
    policy = frontend.policy
    classes = (("pods", policy.pods), ("node", policy.host), ("others", policy.others))
    node_port = frontend.kind is FrontendKind.NODE_PORT
    return Listens(
        kind=frontend.kind.value,
        address="*" if node_port else frontend.address,
        port=frontend.port,
        sources=tuple(_source(clients, disposition) for clients, disposition in classes),
        source_ranges=frontend.source_ranges,
        addresses=tuple(dataplane.node.node_ports(port.family.value) or ()) if node_port else (),
    )


def _source(clients: str, disposition: Disposition) -> Source:
    if disposition.verdict is not Verdict.DNAT:
        return Source(clients, disposition.verdict.value)
    return Source(clients, "dnat", disposition.pool.value, disposition.masquerade)


def _others(target: Target, dataplane: Dataplane, chosen: Iterable[ResolvedPort]) -> frozenset[Key]:
    """The keys of what the other Services need."""
    names = {port.name for port in chosen}
    rest = tuple(port for port in dataplane.ports if port.name not in names)
    return frozenset(target.lower(msgspec.structs.replace(dataplane, ports=rest)))


def _resources(
    target: Target,
    dataplane: Dataplane,
    port: ResolvedPort,
    empty: Mapping[Key, Any],
    others: frozenset[Key],
    observed: Program | None,
) -> tuple[Resource, ...]:
    """What mode and node need for `port`, its own first."""
    program = target.lower(msgspec.structs.replace(dataplane, ports=(port,)))
    found = [
        Resource(target.describe(key, value), key in others, _live(key, value, key in others, observed))
        for key, value in program.items()
        if key not in empty
    ]
    return tuple(sorted(found, key=lambda resource: resource.shared))


def _live(key: Key, value: Any, shared: bool, observed: Program | None) -> str:
    """How the kernel has it. What several Services share may well have more in it than one needs."""
    if observed is None:
        return ""
    if key not in observed:
        return "missing"
    return "present" if shared or observed[key] == value else "different"
