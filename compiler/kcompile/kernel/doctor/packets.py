"""Walks packets through all live rules, to each frontend that the last apply programmed and to its endpoints,
and collects those that don't arrive. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from ...ir.model import Dataplane, Frontend, ResolvedPort, Verdict
from ...trace.causes import is_ours
from ...trace.clients import OUTSIDE, answers_at, inside
from ...trace.journey import Rules, travel
from ...trace.outcome import End, Ending
from ...trace.packet import Host, Packet
from ..remember import recall
from ..rules import live_node
from .records import LostPacket

__all__ = ["lost_packets", "walked"]

_MOST = 200  # packets; a fault that few Services meet is `verify --live`'s to find
_NO_RULE = ("not translated", End.NO_ROUTE.value)
_ARRIVES = (End.DELIVERED, End.SENT)


def lost_packets(directory: Path, devices: Sequence[str]) -> tuple[LostPacket, ...]:
    """What is lost in the current network namespace, whose run directory is `directory`: one a cause.

    :param devices: the interfaces; packets come in by the one that leads back, else by the first
    """
    applied = recall(directory)
    if applied is None or not any(port.frontends for port in applied.dataplane.ports):
        return ()
    rules, host, _ = live_node(directory)
    uplink = next((name for name in devices if name != "lo"), "eth0")
    return walked(applied.dataplane, rules, host, uplink)


def walked(dataplane: Dataplane, rules: Rules, host: Host, uplink: str) -> tuple[LostPacket, ...]:
    """The packets that `rules` lose, the first of each cause; pure."""
    found: dict[tuple[str, ...], LostPacket] = {}
    for what, packet, places in islice(_packets(dataplane, host, uplink), _MOST):
        for ending in travel(rules, host, packet):
            lost = _lost(what, packet, places, ending)
            if lost is not None:
                found.setdefault((lost.end, lost.chain, lost.rule, lost.cause_of), lost)
    return tuple(found.values())


_Asked = tuple[str, Packet, frozenset[tuple[str, int]]]


def _packets(dataplane: Dataplane, host: Host, uplink: str) -> Iterator[_Asked]:
    """From outside to each frontend that has endpoints for it, then to each endpoint itself."""
    direct: dict[tuple[str, int], _Asked] = {}
    for port in dataplane.ports:
        version = port.family.value
        source = OUTSIDE[version]
        coming = host.route(source) or uplink
        for frontend in port.frontends:
            address = answers_at(dataplane.node, frontend, version)
            given = frontend.policy.others
            if not address or given.verdict is not Verdict.DNAT or _ranged(frontend, source):
                continue
            places = _places(port, frontend)
            packet = Packet(
                source=source,
                destination=address,
                protocol=port.protocol.lower,
                port=frontend.port,
                iif=coming,
            )
            yield f"{port.name} ({frontend.kind.value} {address}:{frontend.port})", packet, places
            for ip, number in places:
                to_pod = packet.changed(destination=ip, port=number)
                direct.setdefault((ip, number), (f"the endpoint {ip}:{number}", to_pod, frozenset()))
    yield from direct.values()


def _places(port: ResolvedPort, frontend: Frontend) -> frozenset[tuple[str, int]]:
    return frozenset((backend.ip, backend.port) for backend in port.pool(frontend.policy.others.pool))


def _ranged(frontend: Frontend, source: str) -> bool:
    """True where loadBalancerSourceRanges keeps `source` out."""
    return bool(frontend.source_ranges) and not inside(source, frontend.source_ranges)


def _lost(what: str, packet: Packet, places: frozenset[tuple[str, int]], ending: Ending) -> LostPacket | None:
    """What happened to `packet` that ended so; None where it arrived, or where the model can't tell.

    With no forwarding at all there is a check of its own (forwarding).
    """
    now = ending.packet
    end = ending.end.value
    if ending.end in (End.UNKNOWN, End.NOT_FORWARDED):
        return None
    if ending.end is End.NO_ROUTE and (now.dnat or now.translated or not places):
        return _record(what, packet, ending, end, cause_of=now.destination)
    astray = bool(places) and (now.destination, now.port) not in places
    if astray and ending.end in (*_ARRIVES, End.NO_ROUTE):
        if (now.destination, now.port) == (packet.destination, packet.port):
            return _record(what, packet, ending, "not translated", cause_of="")
        return _record(what, packet, ending, "translated elsewhere", cause_of="")
    return None if ending.end in _ARRIVES else _record(what, packet, ending, end, cause_of="")


def _record(what: str, packet: Packet, ending: Ending, end: str, cause_of: str) -> LostPacket:
    last = ending.steps[-1] if ending.steps and end not in _NO_RULE else None
    if end == "translated elsewhere":
        last = next((step for step in reversed(ending.steps) if "nat" in step.rule.lower()), last)
    now = ending.packet
    return LostPacket(
        what=what,
        end=end,
        protocol=packet.protocol,
        asked=packet.destination if end == "translated elsewhere" else now.destination,
        port=packet.port if end == "translated elsewhere" else now.port,
        translated=now.dnat and end != "translated elsewhere",
        chain=last.chain if last else "",
        rule=last.rule if last else "",
        ours=last is not None and is_ours(last),
        went_to=f"{now.destination}:{now.port}",
        cause_of=cause_of,
    )
