"""The records of the Kubernetes DNS specification, version 1.1.0 (github.com/kubernetes/dns,
docs/specification.md), object by object. Pure.

Where the specification leaves a choice, it is CoreDNS's: an endpoint without a hostname is named by its
address, dashed; SRV records have priority 0 and share a weight of 100, and are at the Service's own name too;
endpoints of a Service with a clusterIP have names as well; Pods that are known get
``A-B-C-D.NAMESPACE.pod.DOMAIN``, as its ``pods verified``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..spec.addresses import canonical_ip, is_ip
from ..spec.objects import Endpoint, EndpointSlice, Pod, Service
from .reverse import Reverse

__all__ = ["APEX", "DEFAULT_TTL", "DNS_SERVICE", "VERSION", "Maker", "Names", "dashed"]

DEFAULT_TTL = 5
"""Seconds; CoreDNS's own default."""
VERSION = "1.1.0"
DNS_SERVICE = ("kube-system", "kube-dns")
APEX = "the name server"
"""The owner of the zones' own records."""
_LONGEST_NAME = 254  # characters, with the dot at the end: 255 bytes in a message

Names = dict[str, dict[str, list[str]]]
"""Name (lower case, absolute) -> type -> data, in the text of a zone file."""


class _Target(NamedTuple):
    """An address of a Service: where SRV records of a port lead. `ports`: name, protocol, number."""

    host: str
    ports: Sequence[tuple[str, str, int]]


class Maker:
    """Makes records in the zone `domain` (absolute) and the reverse zones of `reverse`.

    `ttl`: seconds. A zone's SOA has serial 0: who hands it out puts in the current one.
    """

    def __init__(self, domain: str, ttl: int = DEFAULT_TTL, reverse: Reverse | None = None) -> None:
        self.domain, self.ttl, self.reverse = domain, ttl, reverse or Reverse()

    def apexes(self, servers: Iterable[str]) -> Names:
        """The zones' own records. `servers`: addresses of the name server."""
        made = _Made()
        for zone in (self.domain, *self.reverse.zones):
            self._zone(made, zone)
        made.add(f"dns-version.{self.domain}", "TXT", f'"{VERSION}"')
        for address in servers:
            made.add(self._server, *_address(address))
        return made.names()

    def service(self, service: Service, slices: Iterable[EndpointSlice]) -> Names:
        """The records of a Service and its endpoints."""
        made, spec = _Made(), service.spec
        name = f"{service.metadata.name}.{service.metadata.namespace}.svc.{self.domain}"
        if spec.type == "ExternalName":
            target = (spec.external_name or "").rstrip(".").lower()
            if target and not is_ip(target):
                made.add(name, "CNAME", f"{target}.")
            return made.names()
        is_headless = spec.cluster_ip == "None"
        endpoints = list(self._endpoints(made, name, slices, at_service=is_headless))
        if is_headless:
            _services(made, name, endpoints)
        else:
            ports = [(port.name, port.protocol.lower(), port.port) for port in spec.ports]
            addresses = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
            for address in addresses:
                made.add(name, *_address(address))
                self._pointer(made, address, name)
            _services(made, name, [_Target(name, ports) for _ in addresses])
        return made.names()

    def pod(self, pod: Pod) -> Names:
        """The records of a Pod that runs."""
        made, status = _Made(), pod.status
        if status is not None and status.phase not in ("Succeeded", "Failed"):
            for address in [entry.ip for entry in status.pod_ips or ()] or [status.pod_ip or ""]:
                if address:
                    name = f"{dashed(address)}.{pod.metadata.namespace}.pod.{self.domain}"
                    made.add(name, *_address(address))
        return made.names()

    @property
    def _server(self) -> str:
        return f"ns.dns.{self.domain}"

    def _zone(self, made: _Made, zone: str) -> None:
        made.add(zone, "SOA", f"{self._server} hostmaster.{self.domain} 0 7200 1800 86400 {self.ttl}")
        made.add(zone, "NS", self._server)

    def _endpoints(
        self, made: _Made, name: str, slices: Iterable[EndpointSlice], *, at_service: bool
    ) -> Iterator[_Target]:
        """Add each ready endpoint's address at a name of its own, and `at_service` at the Service's."""
        for piece in slices:
            ports = [
                (port.name or "", (port.protocol or "TCP").lower(), port.port)
                for port in piece.ports or ()
                if port.port
            ]
            if piece.address_type == "FQDN":
                continue
            for endpoint in filter(_is_ready, piece.endpoints or ()):
                for address in endpoint.addresses:
                    host = f"{(endpoint.hostname or dashed(address)).lower()}.{name}"
                    kind, text = _address(address)
                    if at_service:
                        made.add(name, kind, text)
                    made.add(host, kind, text)
                    self._pointer(made, address, host)
                    yield _Target(host, ports)

    def _pointer(self, made: _Made, address: str, name: str) -> None:
        made.add(self.reverse.name(address), "PTR", name)
        if zone := self.reverse.zone_around(address):
            self._zone(made, zone)


class _Made:
    """Records that are being made, each once. A name that is too long for a message has none."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, dict[str, None]]] = {}

    def add(self, name: str, kind: str, data: str) -> None:
        if len(name) <= _LONGEST_NAME:
            self._names.setdefault(name, {}).setdefault(kind, {})[data] = None

    def names(self) -> Names:
        return {
            name: {kind: list(values) for kind, values in kinds.items()}
            for name, kinds in self._names.items()
        }


def _services(made: _Made, name: str, targets: Sequence[_Target]) -> None:
    """Add SRV records for `targets`: of each named port, and of all ports at the Service's own name.

    The weight is CoreDNS's: a share of 100 for each address and port, also where two of them make one record.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    for target in targets:
        for port_name, protocol, number in target.ports:
            found.setdefault(name, []).append((number, target.host))
            if port_name:
                found.setdefault(f"_{port_name}._{protocol}.{name}", []).append((number, target.host))
    for owner, all_of in found.items():
        weight = max(100 // len(all_of), 1)
        for number, host in all_of:
            made.add(owner, "SRV", f"0 {weight} {number} {host}")


def _is_ready(endpoint: Endpoint) -> bool:
    """An unset condition means ready (discovery/v1, EndpointConditions)."""
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def dashed(address: str) -> str:
    """An address as a label: 10-244-0-5, 2001-db8--1."""
    return _address(address)[1].replace(".", "-").replace(":", "-")


def _address(address: str) -> tuple[str, str]:
    """The type of an address' record, and its data: the shortest spelling. Raises ValueError."""
    return "AAAA" if ":" in address else "A", canonical_ip(address)
