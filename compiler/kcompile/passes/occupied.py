"""External addresses that belong to another host: a mode that binds them locally would cut the node off from
that host.

Only for such a mode (ipvs). The others translate one port of the address and leave its other ports alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

import msgspec

from ..ir.model import ServicePort
from ..notices import Notice

__all__ = ["Occupied", "without_occupied"]


class Occupied:
    """The addresses of other hosts, kept up to date as ports come and go.

    `hosts`, `own`: see `without_occupied`.
    """

    def __init__(self, hosts: Mapping[str, str], own: Collection[str]) -> None:
        self._hosts, self._own = hosts, frozenset(own)
        self._endpoints: Counter[str] = Counter()  # how many ports have an endpoint of this address
        self._external: dict[str, Counter[str]] = defaultdict(Counter)  # address -> Services that ask for it

    def replace(self, old: Iterable[ServicePort], new: Iterable[ServicePort]) -> set[str]:
        """Put the ports `new` in the place of `old`.

        :return: the ``namespace/name`` of Services that gain or lose an address by that
        """
        before: dict[str, bool] = {}
        for ports, sign in ((old, -1), (new, 1)):
            for port in ports:
                service = _service(port)
                for address in (*port.external_ips, *port.load_balancer_ips):
                    self._external[address][service] += sign
                for endpoint in port.endpoints:
                    before.setdefault(endpoint.ip, endpoint.ip in self._endpoints)
                    self._count(endpoint.ip, sign)
        turned = [ip for ip, was in before.items() if (ip in self._endpoints) is not was]
        return {service for ip in turned if ip in self._external for service in +self._external[ip]}

    def _count(self, ip: str, sign: int) -> None:
        self._endpoints[ip] += sign
        if not self._endpoints[ip]:
            del self._endpoints[ip]

    def free(self, port: ServicePort) -> tuple[ServicePort, list[Notice]]:
        """`port`, which has been put in, without the addresses of other hosts, and a warning for each."""
        asked = (*port.external_ips, *port.load_balancer_ips)
        taken = {address: self._owner(address) for address in asked if self._is_taken(address)}
        return _without(port, taken) if taken else (port, [])

    def _is_taken(self, address: str) -> bool:
        return address not in self._own and (address in self._hosts or address in self._endpoints)

    def _owner(self, address: str) -> str:
        return self._hosts.get(address, "an endpoint of a Service")


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
        free, notices = _without(port, taken)
        kept.append(free)
        warnings.update(dict.fromkeys(notices))
    return kept, list(warnings)


def _without(port: ServicePort, taken: Mapping[str, str]) -> tuple[ServicePort, list[Notice]]:
    """`port` without the addresses in `taken`, and a warning for each."""
    warnings: dict[Notice, None] = {}
    external = _free(port, "externalIP", port.external_ips, taken, warnings)
    balanced = _free(port, "load-balancer address", port.load_balancer_ips, taken, warnings)
    if external != port.external_ips or balanced != port.load_balancer_ips:
        port = msgspec.structs.replace(port, external_ips=external, load_balancer_ips=balanced)
    return port, list(warnings)


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
