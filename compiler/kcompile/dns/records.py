"""The records of the Kubernetes DNS specification, version 1.1.0 (github.com/kubernetes/dns,
docs/specification.md). Pure.

Where the specification leaves a choice, it is CoreDNS's: an endpoint without a hostname is named by its
address, dashed; SRV records have priority 0 and share a weight of 100; Pods that are known get
``A-B-C-D.NAMESPACE.pod.DOMAIN``, as its ``pods verified``.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from ..spec.cluster import DEFAULT_DOMAIN
from ..spec.inventory import Inventory
from ..spec.objects import Endpoint, EndpointPort, EndpointSlice, Service
from ..spec.wellknown import SERVICE_LABEL

__all__ = ["DEFAULT_DOMAIN", "DEFAULT_TTL", "REVERSE", "VERSION", "Records", "dashed", "records"]

DEFAULT_TTL = 5
"""Seconds; CoreDNS's own default."""
VERSION = "1.1.0"
REVERSE = ("in-addr.arpa.", "ip6.arpa.")
_DNS_SERVICE = ("kube-system", "kube-dns")


class Records(msgspec.Struct):
    """`names`: name (lower case, absolute) -> type -> data, in the text of a zone file; a name without types
    exists and has no records.
    """

    domain: str
    ttl: int
    names: dict[str, dict[str, list[str]]] = {}

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that the names are in, absolute: the domain and the two reverse trees."""
        return (self.domain, *REVERSE)

    def add(self, name: str, kind: str, data: str) -> None:
        """Put one record in, once."""
        found = self.names.setdefault(name, {}).setdefault(kind, [])
        if data not in found:
            found.append(data)

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Every record: name, type, data."""
        for name, kinds in self.names.items():
            for kind, values in kinds.items():
                for data in values:
                    yield name, kind, data

    def __len__(self) -> int:
        return sum(len(values) for kinds in self.names.values() for values in kinds.values())


def records(
    inventory: Inventory,
    domain: str = DEFAULT_DOMAIN,
    ttl: int = DEFAULT_TTL,
    servers: Iterable[str] = (),
    serial: int = 1,
) -> Records:
    """The records of `inventory`, which is complete: addresses allocated, EndpointSlices made.

    `servers`: addresses of the name server itself; without any, those of the Service kube-system/kube-dns.
    `serial`: the zones' own.
    """
    made = Records(domain.strip(".").lower() + ".", ttl)
    _apexes(made, inventory, tuple(servers), serial)
    slices: dict[tuple[str, str], list[EndpointSlice]] = defaultdict(list)
    for piece in inventory.endpoint_slices:
        slices[piece.metadata.namespace, (piece.metadata.labels or {}).get(SERVICE_LABEL, "")].append(piece)
    for namespace in inventory.namespaces:
        made.names.setdefault(f"{namespace.metadata.name}.svc.{made.domain}", {})
    for service in inventory.services:
        name = f"{service.metadata.name}.{service.metadata.namespace}.svc.{made.domain}"
        if service.spec.type == "ExternalName":
            made.add(name, "CNAME", (service.spec.external_name or "").rstrip(".").lower() + ".")
        elif service.spec.cluster_ip == "None":
            _headless(made, name, slices[service.metadata.namespace, service.metadata.name])
        else:
            _cluster_ip(made, name, service)
    for pod in inventory.pods:
        status = pod.status
        if status is not None and status.phase not in ("Succeeded", "Failed"):
            for address in [entry.ip for entry in status.pod_ips or ()] or [status.pod_ip or ""]:
                if address:
                    name = f"{dashed(address)}.{pod.metadata.namespace}.pod.{made.domain}"
                    made.add(name, _kind(address), ipaddress.ip_address(address).compressed)
    return made


def _apexes(made: Records, inventory: Inventory, servers: tuple[str, ...], serial: int) -> None:
    own = f"ns.dns.{made.domain}"
    for zone in made.zones:
        made.add(zone, "SOA", f"{own} hostmaster.{made.domain} {serial} 7200 1800 86400 {made.ttl}")
        made.add(zone, "NS", own)
    made.add(f"dns-version.{made.domain}", "TXT", f'"{VERSION}"')
    if not servers:
        own_service = [
            s for s in inventory.services if (s.metadata.namespace, s.metadata.name) == _DNS_SERVICE
        ]
        servers = tuple(address for service in own_service for address in service.spec.cluster_ips or ())
    for address in servers:
        made.add(own, _kind(address), ipaddress.ip_address(address).compressed)


def _cluster_ip(made: Records, name: str, service: Service) -> None:
    for address in service.spec.cluster_ips or ():
        made.add(name, _kind(address), ipaddress.ip_address(address).compressed)
        made.add(_reverse(address), "PTR", name)
    for port in service.spec.ports:
        if port.name:
            made.add(f"_{port.name}._{port.protocol.lower()}.{name}", "SRV", f"0 100 {port.port} {name}")


def _headless(made: Records, name: str, slices: list[EndpointSlice]) -> None:
    """Add each ready endpoint's address at the Service's name, and at a name of its own."""
    made.names.setdefault(name, {})
    # (port name, protocol) -> (port, host), in order
    targets: dict[tuple[str, str], dict[tuple[int, str], None]] = defaultdict(dict)
    for piece in slices:
        for endpoint in piece.endpoints or ():
            if not _is_ready(endpoint):
                continue
            for address in endpoint.addresses:
                host = f"{(endpoint.hostname or dashed(address)).lower()}.{name}"
                text = ipaddress.ip_address(address).compressed
                made.add(name, _kind(address), text)
                made.add(host, _kind(address), text)
                made.add(_reverse(address), "PTR", host)
                for port in piece.ports or ():
                    if _is_named(port):
                        targets[port.name or "", (port.protocol or "TCP").lower()][port.port or 0, host] = (
                            None
                        )
    for (port_name, protocol), hosts in targets.items():
        weight = max(100 // len(hosts), 1)
        for number, host in hosts:
            made.add(f"_{port_name}._{protocol}.{name}", "SRV", f"0 {weight} {number} {host}")


def _is_ready(endpoint: Endpoint) -> bool:
    """An unset condition means ready (discovery/v1, EndpointConditions)."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _is_named(port: EndpointPort) -> bool:
    return bool(port.name and port.port)


def dashed(address: str) -> str:
    """An address as a label: 10-244-0-5, 2001-db8--1."""
    return ipaddress.ip_address(address).compressed.replace(".", "-").replace(":", "-")


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _reverse(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer + "."
