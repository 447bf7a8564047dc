"""ipsets: whether a packet is in one, and what the element says (ipset(8))."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...program import Key
from ...targets.ipvs.resources import ElementKey, SetKey, set_name
from ..packet import Packet, canonical

__all__ = ["IpSet", "sets_of_program", "sets_of_save"]

_KNOWN = frozenset(("ip", "net", "port"))


class IpSet:
    """A set of type hash whose elements have `parts`: ``ip``, ``net`` and ``port``, in the type's order."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = tuple(parts)
        self._elements: dict[tuple[Any, ...], str] = {}
        self._lengths: set[tuple[int, ...]] = set()  # prefix lengths that elements have, of each part

    def add(self, entry: str, options: str) -> None:
        """An element as ``ipset add`` takes it. Raises ValueError."""
        key: list[Any] = []
        lengths: list[int] = []
        for part, text in zip(self.parts, entry.split(","), strict=True):
            if part == "port":
                protocol, _, port = text.rpartition(":")
                key.append((protocol or "tcp", int(port)))
            elif part == "net":
                network = ipaddress.ip_network(text)
                lengths.append(network.prefixlen)
                key.append(network)
            else:
                key.append(canonical(text))
        self._elements[tuple(key)] = options
        self._lengths.add(tuple(lengths))

    def find(self, packet: Packet, directions: str) -> str | None:
        """The options of the element that `packet` matches, None without one. `directions`: ``dst,dst``."""
        ways = directions.split(",")
        for lengths in self._lengths:
            key = tuple(self._key(packet, ways, iter(lengths)))
            if (options := self._elements.get(key)) is not None:
                return options
        return None

    def _key(self, packet: Packet, ways: Sequence[str], lengths: Iterator[int]) -> Iterator[Any]:
        for part, way in zip(self.parts, ways, strict=False):
            address = packet.source if way == "src" else packet.destination
            if part == "port":
                yield packet.protocol, packet.source_port if way == "src" else packet.port
            elif part == "net":
                yield ipaddress.ip_network(f"{address}/{next(lengths)}", strict=False)
            else:
                yield address


def _made(definition: str) -> IpSet | None:
    """The set of a definition as ``ipset create`` takes it after the name; None for a type that the model
    doesn't know.
    """
    kind, _, parts = definition.partition(" ")[0].partition(":")
    names = parts.split(",")
    return IpSet(names) if kind == "hash" and _KNOWN.issuperset(names) else None


def sets_of_program(program: Mapping[Key, Any]) -> dict[str, IpSet]:
    """The sets of a Program (targets/ipvs), by the kernel's names."""
    found = {
        set_name(key.version, key.name): made
        for key, value in program.items()
        if isinstance(key, SetKey) and (made := _made(value)) is not None
    }
    for key, value in program.items():
        if isinstance(key, ElementKey):
            found[set_name(key.version, key.set)].add(key.entry, value)
    return found


def sets_of_save(lines: Iterable[str]) -> dict[str, IpSet]:
    """The sets of what ``ipset save`` prints, without those of a type that the model doesn't know."""
    found: dict[str, IpSet] = {}
    for line in lines:
        command, _, rest = line.strip().partition(" ")
        name, _, what = rest.partition(" ")
        if command == "create" and (made := _made(what)) is not None:
            found[name] = made
        elif command == "add" and name in found:
            entry, *options = shlex.split(what)
            found[name].add(entry, " ".join(options))
    return found
