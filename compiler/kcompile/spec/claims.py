"""Which Service holds which clusterIP and node port; no two may hold the same.

The API server's allocators (pkg/registry/core/service) refuse such a Service when it is created; here all
Services come at once.
"""

from __future__ import annotations

from socket import AF_INET6, inet_ntop, inet_pton

from .check import PROTOCOLS
from .objects import Service
from .text import conflict

__all__ = ["Claims"]


class Claims:
    """Explicit and allocated values so far. Addresses are those of validated Services."""

    def __init__(self) -> None:
        self.addresses: dict[str, Service] = {}
        self.node_ports: dict[tuple[int, str], Service] = {}
        self.port_numbers: set[int] = set()

    def take_all(self, service: Service) -> None:
        """Claim every address and port that `service` names. Raises AllocationError for one that another
        holds.
        """
        spec = service.spec
        if spec.cluster_ip and spec.cluster_ip != "None":
            for index, address in enumerate(spec.cluster_ips or (spec.cluster_ip,)):
                self.take_address(
                    service, address, f"spec.clusterIPs[{index}]" if spec.cluster_ips else "spec.clusterIP"
                )
        if spec.type in ("NodePort", "LoadBalancer"):
            for index, port in enumerate(spec.ports):
                if port.node_port:
                    self.take_port(service, port.node_port, port.protocol, f"spec.ports[{index}].nodePort")
            if spec.health_check_node_port:
                self.take_port(service, spec.health_check_node_port, "TCP", "spec.healthCheckNodePort")

    def take_address(self, service: Service, address: str, field: str) -> None:
        key = _address_key(address)
        holder = self.addresses.setdefault(key, service)
        if holder is not service:
            raise conflict(service, field, f"{address} is the clusterIP of {holder.describe()} too")

    def take_port(self, service: Service, port: int, protocol: str, field: str) -> None:
        """A Service may hold a number once a protocol; health checks are TCP."""
        key = port, protocol
        holder = self.node_ports.setdefault(key, service)
        if holder is not service:
            raise conflict(service, field, f"{port}/{protocol} is taken by {holder.describe()}")
        self.port_numbers.add(port)

    def release(self, service: Service) -> None:
        """Give up whatever `service` itself holds."""
        for address in [key for key in _addresses(service) if self.addresses.get(key) is service]:
            del self.addresses[address]
        numbers = {port.node_port for port in service.spec.ports} | {service.spec.health_check_node_port}
        for number in numbers:
            keys = [(number, protocol) for protocol in PROTOCOLS]
            for key in keys:
                if self.node_ports.get(key) is service:
                    del self.node_ports[key]
            if not any(key in self.node_ports for key in keys):
                self.port_numbers.discard(number)


def _addresses(service: Service) -> list[str]:
    """The addresses of `service` as the keys of `Claims.addresses`."""
    spec = service.spec
    given = spec.cluster_ips or [spec.cluster_ip or "None"]
    return [_address_key(address) for address in given if address != "None"]


def _address_key(address: str) -> str:
    return inet_ntop(AF_INET6, inet_pton(AF_INET6, address)) if ":" in address else address
