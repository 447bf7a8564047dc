"""What becomes of a packet: by the rules that manifests compile to, or by those in the kernel."""

from __future__ import annotations

import ipaddress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..errors import InputError
from ..ir.model import Dataplane, FrontendKind
from ..ir.node import Link
from ..spec.inventory import Inventory
from ..trace.causes import Cause, first_cause, is_ours
from ..trace.clients import OUTSIDE, place
from ..trace.journey import Rules, travel
from ..trace.lowered import base_chains, host_with
from ..trace.outcome import End, Ending, Step
from ..trace.packet import Host, Packet, canonical
from .compile import Compiled
from .refusals import why_refused

__all__ = [
    "Journey",
    "Question",
    "Way",
    "names_of",
    "question",
    "trace_live",
    "trace_specs",
    "with_links",
]

_UPLINK = "eth0"


class Question(NamedTuple):
    """Whose packet, and where it goes. `source` is ``outside``, ``node``, or an address."""

    source: str
    destination: str
    port: int
    protocol: str


class Way(msgspec.Struct, frozen=True, rename="camel"):
    """One possible end: its probability, the packet's destination by then, and the rules that matched."""

    end: str
    probability: float
    destination: str
    masqueraded: bool
    name: str
    steps: tuple[Step, ...]
    reason: str = ""


class Journey(msgspec.Struct, frozen=True, rename="camel"):
    """What becomes of one packet in one mode (``live``: by all rules of the kernel)."""

    mode: str
    packet: str
    interface: str
    ways: tuple[Way, ...]
    cause: Cause | None

    @property
    def arrives(self) -> bool:
        """True where every way ends at a process or leaves the node."""
        return self.cause is None


def question(source: str, to: str, protocol: str, inventory: Inventory | None) -> Question:
    """The packet that is asked for.

    :param source: ``outside``, ``node``, an address, or the name of a Pod in the input
    :param to: ``ADDRESS:PORT`` or ``SERVICE:PORT``, with a namespace before the name if it isn't default
    :raises InputError: for what is neither
    """
    name, _, port = to.rpartition(":")
    if not name or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"trace: {to!r} is not ADDRESS:PORT or SERVICE:PORT")
    destination = _address(name) or _cluster_ip(name, inventory)
    if source not in ("outside", "node"):
        source = _address(source) or _pod_ip(source, inventory)
        if (":" in source) is not (":" in destination):
            raise InputError(f"trace: {source} and {destination} are of two IP families")
    return Question(source, destination, int(port), protocol)


def _address(text: str) -> str:
    try:
        return canonical(text.strip("[]"))
    except ValueError:
        return ""


def _cluster_ip(name: str, inventory: Inventory | None) -> str:
    """The clusterIP of a Service in the input."""
    key = name if "/" in name else f"default/{name}"
    for service in inventory.services if inventory else ():
        if service.key == key:
            address = service.spec.cluster_ip
            if address in ("", None, "None"):
                raise InputError(f"trace: Service {key} has no clusterIP: name a pod's address")
            return canonical(str(address))
    raise InputError(f"trace: {name} is neither an address nor a Service of the input")


def _pod_ip(name: str, inventory: Inventory | None) -> str:
    """The address of a Pod in the input."""
    key = name if "/" in name else f"default/{name}"
    for pod in inventory.pods if inventory else ():
        if f"{pod.metadata.namespace or 'default'}/{pod.metadata.name}" == key and pod.status:
            address = _address(pod.status.pod_ip or "")
            if address:
                return address
    raise InputError(f"trace: {name} is neither outside, node, an address, nor a Pod of the input")


def trace_specs(compiled: Compiled, asked: Question) -> Journey:
    """The packet on a node that has just the rules of `compiled`, and routes to everywhere."""
    node = compiled.dataplane.node
    program = compiled.mode.target().lower(with_links(compiled))
    host = host_with(program, Host(addresses=frozenset({*node.addresses, *node.interfaces})))
    packet = _packet(asked, node.addresses, host, _pod_interface(compiled), node.pod_cidrs)
    journey = _journey(compiled.mode.name, Rules(base_chains(program)), host, packet, names_of(compiled))
    if journey.cause is None or not _refused_by_us(journey):
        return journey
    why = why_refused(compiled, asked.destination, asked.port, asked.protocol)
    return msgspec.structs.replace(journey, cause=why)


def with_links(compiled: Compiled) -> Dataplane:
    """The dataplane with the two interfaces that packets come in by, which mode xdp asks for."""
    dataplane = compiled.dataplane
    if not compiled.mode.sees_interfaces or dataplane.node.links:
        return dataplane
    own = dataplane.node.addresses
    links = (
        Link(name="lo", loopback=True),
        Link(name=_UPLINK, addresses=own),
        Link(name=_pod_interface(compiled)),
    )
    return msgspec.structs.replace(dataplane, node=msgspec.structs.replace(dataplane.node, links=links))


def _refused_by_us(journey: Journey) -> bool:
    lost = [way for way in journey.ways if way.end in (End.REJECTED, End.DROPPED)]
    return bool(lost) and all(way.steps and is_ours(way.steps[-1]) for way in lost)


def _pod_interface(compiled: Compiled) -> str:
    return compiled.dataplane.settings.detector.interface or "pod"


def _packet(asked: Question, own: tuple[str, ...], host: Host, pods: str, cidrs: tuple[str, ...]) -> Packet:
    version = 6 if ":" in asked.destination else 4
    if asked.source == "node":
        first = next((a for a in own if (":" in a) is (version == 6)), "::1" if version == 6 else "127.0.0.1")
        source, iif = first, ""
    else:
        source = OUTSIDE[version] if asked.source == "outside" else asked.source
        inside = any(ipaddress.ip_address(source) in ipaddress.ip_network(c, strict=False) for c in cidrs)
        iif = "" if host.is_local(source) else pods if inside else _UPLINK
    return Packet(
        source=source, destination=asked.destination, protocol=asked.protocol, port=asked.port, iif=iif
    )


def trace_live(directory: Path, asked: Question, names: dict[str, str]) -> tuple[Journey, list[str]]:
    """The packet through all rules of the current network namespace, and what couldn't be read of them.

    :param directory: the namespace's run directory
    :param names: what is known of endpoints, by ``address:port``
    """
    from ..kernel.rules import live_node

    rules, host, unread = live_node(directory)
    own = tuple(
        sorted(address for address in host.addresses if not ipaddress.ip_address(address).is_loopback)
    )
    packet = _packet(asked, own, host, "", ())
    if packet.iif:
        packet = packet.changed(iif=host.route(packet.source) or _UPLINK)
    return _journey("live", rules, host, packet, names), unread


def names_of(compiled: Compiled) -> dict[str, str]:
    """Services and endpoints by ``address:port``, for people."""
    found: dict[str, str] = {}
    for port in compiled.dataplane.ports:
        for backend in (*port.cluster, *port.local):
            found.setdefault(place(backend.ip, backend.port), f"endpoint of {port.name}")
        for frontend in port.frontends:
            if frontend.kind is not FrontendKind.NODE_PORT:
                found[place(frontend.address, frontend.port)] = f"{port.name} {frontend.kind.value}"
    return found


def _journey(mode: str, rules: Rules, host: Host, packet: Packet, names: dict[str, str]) -> Journey:
    endings = travel(rules, host, packet)
    return Journey(
        mode=mode,
        packet=str(packet),
        interface=packet.iif,
        ways=tuple(_way(ending, names) for ending in _merged(endings)),
        cause=first_cause(endings),
    )


def _merged(endings: list[Ending]) -> list[Ending]:
    """The endings, the likeliest first, those that differ in nothing but chance as one."""
    found: dict[tuple[End, Packet, tuple[Step, ...], str], Fraction] = {}
    for ending in endings:
        key = (ending.end, ending.packet, ending.steps, ending.reason)
        found[key] = found.get(key, Fraction(0)) + ending.weight
    merged = [Ending(end, packet, weight, steps, why) for (end, packet, steps, why), weight in found.items()]
    return sorted(merged, key=lambda ending: (-ending.weight, ending.packet.destination))


def _way(ending: Ending, names: dict[str, str]) -> Way:
    packet = ending.packet
    there = place(packet.destination, packet.port)
    return Way(
        end=ending.end.value,
        probability=float(ending.weight),
        destination=there,
        masqueraded=packet.masqueraded,
        name=names.get(there, ""),
        steps=ending.steps,
        reason=ending.reason,
    )
