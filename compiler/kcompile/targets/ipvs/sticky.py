"""Session affinity: a client sticks to one endpoint whichever of a Service's addresses it uses.

IPVS remembers clients for each virtual server (persistence templates: ip_vs_sched_persist() in
ip_vs_core.c), and a persistent virtual server with a mark can't translate ports. So a pool with affinity has
one virtual server, at the first address of the pool; DNAT before IPVS sends the Service's other addresses
there. That is a rule for each such address, the only rules of this mode whose number grows with Services.
conntrack translates the rest of such a connection.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.model import Frontend, FrontendKind, PoolKind, ResolvedPort
from .chains import FamilyRules
from .plans import Plan

__all__ = ["Listening", "Sticky"]

Home = tuple[str, int]
"""Address and port of the virtual server that a pool has."""
Listening = tuple[str, str, int]
"""The protocol, address and port of a frontend."""
_HOST = "-m addrtype --src-type LOCAL "


class Sticky:
    """The nat rules of one family's Services with affinity.

    `is_frontend`: whether a frontend has this protocol, address and port.
    """

    def __init__(self, rules: FamilyRules, is_frontend: Callable[[Listening], bool]) -> None:
        self._rules, self._is_frontend = rules, is_frontend
        self._found: set[Listening] = set()

    def homes(self, port: ResolvedPort, plans: list[tuple[Frontend, Plan]]) -> dict[PoolKind, Home]:
        """The address and port of the virtual server of each pool that `port` uses."""
        homes: dict[PoolKind, Home] = {}
        for frontend, plan in plans:
            if frontend.address and plan.outside is not None:
                homes.setdefault(
                    plan.outside, (self._rules.spelling.canonical(frontend.address), frontend.port)
                )
        for _, plan in plans:
            for pool in (plan.outside, plan.inside):
                if pool is not None and pool not in homes:
                    homes[pool] = self._unused(port)
        return homes

    def _unused(self, port: ResolvedPort) -> Home:
        """A port of the ClusterIP that no Service has; only DNATed packets reach it (last rule of INPUT)."""
        own = next(f for f in port.frontends if f.kind is FrontendKind.CLUSTER_IP)
        address = self._rules.spelling.canonical(own.address)
        proto, number = port.protocol.lower, own.port ^ 0x8000
        while not number or self._is_taken((proto, address, number)):
            number = (number + 1) % 0x10000
        self._found.add((proto, address, number))
        return address, number

    def _is_taken(self, place: Listening) -> bool:
        return place in self._found or self._is_frontend(place)

    def lead(
        self, port: ResolvedPort, frontend: Frontend, plan: Plan, homes: dict[PoolKind, Home]
    ) -> list[str]:
        """The DNAT rules from `frontend` to its pools' homes; empty where none is needed."""
        rules, spelling, proto = self._rules, self._rules.spelling, port.protocol.lower
        ports = f"-p {proto} -m {proto} --dport {frontend.port} "
        if frontend.address:
            address = spelling.canonical(frontend.address)
            own = address, frontend.port
            destination = f"-d {address}{spelling.host} {ports}"
        else:
            own = "", 0
            destination = rules.to_node_ports(ports)
        found: list[str] = []
        if plan.inside is not None and (home := homes[plan.inside]) != own:
            to = f"-j DNAT --to-destination {spelling.destination(*home)}"
            if rules.has_pods and rules.settings.detector.interface:
                before, _, after = destination.partition("-p ")
                found.append(f"{before}{rules.pods()}-p {after}{to}")
            elif rules.has_pods:
                found.append(f"{rules.pods()}{destination}{to}")
            found.append(f"{_from_host(destination)}{to}")
        if plan.outside is not None and (home := homes[plan.outside]) != own:
            found.append(f"{destination}-j DNAT --to-destination {spelling.destination(*home)}")
        elif found:
            found.append(f"{destination}-j RETURN")
        return found


def _from_host(destination: str) -> str:
    """`destination` for packets of the node itself; iptables-save prints both address types in one match."""
    before, addrtype, after = destination.partition("-m addrtype ")
    return f"{before}{addrtype}--src-type LOCAL {after}" if addrtype else destination + _HOST
