"""Warnings where IPVS can't do what a Service asks for; docs/reference/modes.md gives the reasons."""

from __future__ import annotations

from ...ir.model import Dataplane, Protocol, ResolvedPort
from ...notices import Notice

__all__ = ["limits"]

_CHECKED_SECONDS = 60  # ip_vs_conn_expire() looks again after so long
# seconds: tcp_timeouts[TIME_WAIT], sctp_timeouts[CLOSED], udp_timeouts[]
_LINGERS = {Protocol.TCP: 120, Protocol.SCTP: 10, Protocol.UDP: 300}
_SHOWN = 5


def limits(dataplane: Dataplane) -> list[Notice]:
    """A warning for each Service whose affinity may outlive its timeout, and one for those with UDP."""
    ports = dataplane.ports
    timeouts = dict(dataplane.settings.ipvs.timeouts)
    sticky: dict[str, int] = {}
    for port in ports:
        longest = _remembered(port, timeouts)
        if port.affinity_seconds and port.affinity_seconds < longest:
            service = _service(port)
            sticky[service] = max(longest, sticky.get(service, 0))
    seconds = {_service(port): port.affinity_seconds for port in ports}
    notes = []
    for service, longest in sticky.items():
        affinity = f"session affinity of {seconds[service]} s may last {longest} s in mode ipvs"
        text = f"{affinity}, and for as long as a connection of that client is open"
        notes.append(Notice("ipvs-limit", text, object=f"Service {service}"))
    if datagrams := list(dict.fromkeys(_service(port) for port in ports if port.protocol is Protocol.UDP)):
        more = f" and {len(datagrams) - _SHOWN} more" if len(datagrams) > _SHOWN else ""
        notes.append(Notice("ipvs-limit", f"Services {', '.join(datagrams[:_SHOWN])}{more}: {_DATAGRAMS}"))
    return notes


_DATAGRAMS = "mode ipvs loses UDP datagrams of the node itself that don't fit into one packet"


def _remembered(port: ResolvedPort, timeouts: dict[str, int]) -> int:
    """Seconds that IPVS remembers a client's endpoint at least, after its last connection, in any case."""
    lingers = _LINGERS[port.protocol]
    if port.protocol is Protocol.UDP:
        lingers = timeouts.get("udp", 0) or lingers
    return lingers + _CHECKED_SECONDS


def _service(port: ResolvedPort) -> str:
    return port.name.partition(":")[0]
