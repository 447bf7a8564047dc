"""External addresses that belong to another host: a mode that binds them locally would cut the node off from
that host.

Only for such a mode (ipvs). The others translate one port of the address and leave its other ports alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from ..ir.model import ServicePort
from ..notices import Notice

__all__ = ["without_occupied"]


def without_occupied(
    ports: Iterable[ServicePort], hosts: Mapping[str, str], own: Collection[str]
) -> tuple[list[ServicePort], list[Notice]]:
    """`ports` without externalIPs and load-balancer addresses of other hosts, and a warning for each
    Service's address left out.

    `hosts`: address -> whose it is. Endpoints' addresses are hosts too. `own`: the node's addresses, which
    may be used: they are local already, as are those of its pods in the host network.
    """
    ports = list(ports)
    taken = {e.ip: f"an endpoint of Service {_service(p)}" for p in reversed(ports) for e in p.endpoints}
    taken |= hosts
    for address in own:
        taken.pop(address, None)
    warnings: dict[Notice, None] = {}
    kept: list[ServicePort] = []
    for port in ports:
        external = _free(port, "externalIP", port.external_ips, taken, warnings)
        balanced = _free(port, "load-balancer address", port.load_balancer_ips, taken, warnings)
        if external != port.external_ips or balanced != port.load_balancer_ips:
            port = msgspec.structs.replace(port, external_ips=external, load_balancer_ips=balanced)
        kept.append(port)
    return kept, list(warnings)


def _service(port: ServicePort) -> str:
    return port.name.partition(":")[0]


def _free(
    port: ServicePort,
    kind: str,
    addresses: tuple[str, ...],
    taken: Mapping[str, str],
    warnings: dict[Notice, None],
) -> tuple[str, ...]:
    """The `addresses` that no host has; adds a warning to `warnings` for each of the others."""
    if taken.keys().isdisjoint(addresses):
        return addresses
    for address in addresses:
        if address in taken:
            owner = f"{taken[address]}, which mode ipvs would cut this node off from"
            text = f"{kind} {address} is the address of {owner}: left out here"
            warnings[Notice("ipvs-limit", text, object=f"Service {_service(port)}")] = None
    return tuple([address for address in addresses if address not in taken])
