"""What the matches of a rule ask of a packet (iptables(8), iptables-extensions(8))."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from fractions import Fraction

from ..packet import PROTOCOLS, Host, Packet

__all__ = ["MATCHES", "Match", "Unreadable", "protocol_of"]

Match = Callable[[Packet, Host], Fraction]
"""The probability that a packet matches: 1, 0, or between."""

Options = Mapping[str, str]
"""The options of one match with their values; a negated one's value begins with ``! ``."""

_YES, _NO = Fraction(1), Fraction(0)
_NUMBERS = {str(number): name for name, number in PROTOCOLS.items()} | {"ipv6-icmp": "icmpv6", "58": "icmpv6"}


class Unreadable(Exception):  # noqa: N818 -- it isn't an error: the model has an end
    """The model doesn't know a match, an option or a target; says which."""


def protocol_of(word: str) -> str:
    """The protocol's name, of its name or number."""
    return _NUMBERS.get(word.lower(), word.lower())


def _sure(holds: Callable[[Packet, Host], bool], *, negated: bool) -> Match:
    return lambda packet, host: _YES if holds(packet, host) is not negated else _NO


def _split(value: str) -> tuple[str, bool]:
    """The value without its ``! ``, and whether it had one."""
    return value.removeprefix("! "), value.startswith("! ")


def source(value: str) -> Match:
    return _network(value, lambda packet: packet.source)


def destination(value: str) -> Match:
    return _network(value, lambda packet: packet.destination)


def _network(value: str, address: Callable[[Packet], str]) -> Match:
    text, negated = _split(value)
    network = ipaddress.ip_network(text, strict=False)
    return _sure(lambda packet, _: ipaddress.ip_address(address(packet)) in network, negated=negated)


def in_interface(value: str) -> Match:
    return _interface(value, lambda packet: packet.iif)


def out_interface(value: str) -> Match:
    return _interface(value, lambda packet: packet.oif)


def _interface(value: str, name: Callable[[Packet], str]) -> Match:
    text, negated = _split(value)
    if text.endswith("+"):
        return _sure(lambda packet, _: name(packet).startswith(text[:-1]), negated=negated)
    return _sure(lambda packet, _: name(packet) == text, negated=negated)


def protocol(value: str) -> Match:
    text, negated = _split(value)
    wanted = protocol_of(text)
    if wanted == "all":
        return lambda *_: _YES
    return _sure(lambda packet, _: packet.protocol == wanted, negated=negated)


def _destination_ports(value: str) -> Match:
    return _ports(value, lambda packet: packet.port)


def _source_ports(value: str) -> Match:
    return _ports(value, lambda packet: packet.source_port)


def _ports(value: str, port: Callable[[Packet], int]) -> Match:
    text, negated = _split(value)
    ranges = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        low = int(first or 0)
        ranges.append((low, int(last or 65535) if colon else low))
    return _sure(lambda packet, _: any(low <= port(packet) <= high for low, high in ranges), negated=negated)


def _source_type(value: str) -> Match:
    return _address_type(value, lambda packet: packet.source)


def _destination_type(value: str) -> Match:
    return _address_type(value, lambda packet: packet.destination)


def _address_type(value: str, address: Callable[[Packet], str]) -> Match:
    text, negated = _split(value)
    if text not in ("LOCAL", "UNICAST"):
        raise Unreadable(f"addresses of type {text}")
    return _sure(lambda packet, host: host.is_local(address(packet)) is (text == "LOCAL"), negated=negated)


def _states(value: str) -> Match:
    text, negated = _split(value)
    words = {word.lower() for word in text.split(",")}
    return _sure(lambda packet, _: bool(words & {packet.state.value, *_statuses(packet)}), negated=negated)


def _statuses(packet: Packet) -> list[str]:
    return [name for name, is_set in (("dnat", packet.dnat), ("snat", packet.snat)) if is_set]


def _mark(value: str) -> Match:
    text, negated = _split(value)
    wanted, _, mask = text.partition("/")
    number, bits = int(wanted, 0), int(mask or "0xffffffff", 0)
    return _sure(lambda packet, _: packet.mark & bits == number, negated=negated)


def _probability(value: str) -> Match:
    # what iptables-save prints is 1/n in 31 bits: the fraction that it stands for
    text, negated = _split(value)
    chance = Fraction(text).limit_denominator(65_535)
    return lambda *_: _YES - chance if negated else chance


def _every(value: str) -> Match:
    chance = Fraction(1, int(value))
    return lambda *_: chance


def _in_set(value: str) -> Match:
    text, negated = _split(value)
    name, _, directions = text.partition(" ")

    def match(packet: Packet, host: Host) -> Fraction:
        if name not in host.sets:
            raise Unreadable(f"the set {name}")
        return _NO if (host.sets[name].find(packet, directions) is None) is not negated else _YES

    return match


def _never(_: str) -> Match:
    """A list of recent sources: the model's packet is a source's first."""
    return lambda *_: _NO


MATCHES: Mapping[str, Callable[[str], Match]] = {
    "-s": source,
    "-d": destination,
    "-i": in_interface,
    "-o": out_interface,
    "-p": protocol,
    "--dport": _destination_ports,
    "--sport": _source_ports,
    "--dports": _destination_ports,
    "--sports": _source_ports,
    "--src-type": _source_type,
    "--dst-type": _destination_type,
    "--ctstate": _states,
    "--ctstatus": _states,
    "--state": _states,
    "--mark": _mark,
    "--probability": _probability,
    "--every": _every,
    "--match-set": _in_set,
    "--rcheck": _never,
    "--update": _never,
}
"""What an option asks, by its name."""
