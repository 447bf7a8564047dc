"""What a dataplane promises to a new connection, read off the IR without a look at any rule."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..ir.model import Dataplane, Disposition, Frontend, ResolvedPort, Verdict
from ..trace.clients import OUTSIDE, answers_at, inside, place
from ..trace.outcome import End, Ending
from ..trace.packet import Packet

__all__ = ["CLIENTS", "Outcome", "Probe", "outcome_of", "probes"]

CLIENTS = ("outside", "node", "pod")


_TRIED = 1024  # addresses of a pod CIDR, until one is no endpoint's


class Outcome(NamedTuple):
    """`verdict`: dnat, reject, drop, pass, or why it is unknown. With dnat: where to, as ``ip:port``."""

    verdict: str
    backends: frozenset[str] = frozenset()
    masqueraded: bool = False

    def __str__(self) -> str:
        if self.verdict != "dnat":
            return self.verdict
        masqueraded = ", masqueraded" if self.masqueraded else ""
        return f"to {', '.join(sorted(self.backends))}{masqueraded}"


class Probe(NamedTuple):
    """One packet to one frontend, and what is promised to it. `client` is one of CLIENTS."""

    service: str
    frontend: str
    client: str
    packet: Packet
    expected: Outcome


def probes(dataplane: Dataplane, uplink: str = "eth0") -> Iterator[Probe]:
    """A packet from each kind of client to each frontend of `dataplane`."""
    sources = {
        (version, client): _source(dataplane, version, client) for version in (4, 6) for client in CLIENTS
    }
    for port in dataplane.ports:
        version = port.family.value
        for frontend in port.frontends:
            address = answers_at(dataplane.node, frontend, version)
            for client in CLIENTS:
                source = sources[version, client]
                if not address or not source:
                    continue
                packet = Packet(
                    source=source,
                    destination=address,
                    protocol=port.protocol.lower,
                    port=frontend.port,
                    iif=_interface(dataplane, client, uplink),
                )
                shown = f"{frontend.kind.value} {place(address, frontend.port)}/{port.protocol.value}"
                yield Probe(
                    port.name, shown, client, packet, _promised(dataplane, port, frontend, packet, client)
                )


def _source(dataplane: Dataplane, version: int, client: str) -> str:
    """An address of this kind of client; empty where none is known."""
    if client == "outside":
        return OUTSIDE[version]
    if client == "node":
        return next((a for a in dataplane.node.addresses if (":" in a) is (version == 6)), "")
    backends = {b.ip for port in dataplane.ports for b in (*port.cluster, *port.local)}
    for cidr in dataplane.node.pod_cidrs:
        network = ipaddress.ip_network(cidr, strict=False)
        if network.version == version:
            candidates = (str(network.network_address + offset) for offset in range(2, _TRIED))
            return next((a for a in candidates if a not in backends), "")
    return ""


def _interface(dataplane: Dataplane, client: str, uplink: str) -> str:
    if client == "pod":
        return dataplane.settings.detector.interface or "pod"
    return "" if client == "node" else uplink


def _promised(
    dataplane: Dataplane, port: ResolvedPort, frontend: Frontend, packet: Packet, client: str
) -> Outcome:
    if frontend.source_ranges and not inside(packet.source, frontend.source_ranges):
        return Outcome("drop")
    policy = frontend.policy
    detects = dataplane.settings.detector.active(port.family.value)
    given: Disposition = policy.others
    if client == "node":
        given = policy.host
    elif client == "pod" and detects:
        given = policy.pods
    if given.verdict is not Verdict.DNAT:
        return Outcome(given.verdict.value)
    backends = frozenset(place(backend.ip, backend.port) for backend in port.pool(given.pool))
    return Outcome("dnat", backends, given.masquerade)


def outcome_of(endings: Sequence[Ending]) -> Outcome:
    """What a walk came to, in the same form."""
    verdicts = {_verdict(ending) for ending in endings}
    if len(verdicts) != 1:
        return Outcome(" or ".join(sorted(verdicts)))
    (verdict,) = verdicts
    if verdict != "dnat":
        return Outcome(verdict)
    places = frozenset(place(ending.packet.destination, ending.packet.port) for ending in endings)
    masqueraded = {ending.packet.masqueraded for ending in endings}
    return Outcome("dnat", places, masqueraded == {True})


def _verdict(ending: Ending) -> str:
    match ending.end:
        case End.DROPPED:
            return "drop"
        case End.REJECTED:
            return "reject"
        case End.DELIVERED | End.SENT:
            return "dnat" if ending.packet.dnat or ending.packet.translated else "pass"
        case End.UNKNOWN:
            return f"unknown, because the model has no {ending.reason}"
    return ending.end.value
