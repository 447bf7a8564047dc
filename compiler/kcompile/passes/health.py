"""healthCheckNodePort: the number of local ready endpoints that a load balancer is answered
(healthcheck/service_health.go).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.model import HealthCheck, ServicePort

__all__ = ["health_checks"]


def health_checks(ports: Iterable[ServicePort], node: str) -> tuple[HealthCheck, ...]:
    """One check a Service with a healthCheckNodePort, counting distinct addresses of its local ready
    endpoints.
    """
    addresses: dict[tuple[int, str], set[str]] = {}
    for port in ports:
        if port.health_check_node_port:
            found = addresses.setdefault((port.health_check_node_port, port.name.partition(":")[0]), set())
            found.update(e.ip for e in port.endpoints if e.ready and e.node == node)
    checks = []
    for (number, name), ips in sorted(addresses.items()):
        namespace, _, service = name.partition("/")
        checks.append(HealthCheck(number, namespace, service, len(ips)))
    return tuple(checks)
