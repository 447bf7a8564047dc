"""The flow maps: UDP flows to what is gone are removed, and all of them can be listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ...targets.xdp import layout
from ...targets.xdp.resources import PROTOCOLS
from . import entries, library
from .library import Fd
from .writer import Gone

__all__ = ["Connection", "connections", "purge"]

_REPLY, _DIRECT = layout.CONSTANTS["FLOW_REPLY"], layout.CONSTANTS["FLOW_DIRECT"]
_FORMS = {4: (layout.FLOW_KEY4, layout.FLOW4), 6: (layout.FLOW_KEY6, layout.FLOW6)}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_Ends = tuple[bytes, bytes, bytes, bytes]  # source and destination address, source and destination port


class Connection(msgspec.Struct, frozen=True, rename="camel"):
    """One translated flow, as the client started it. `age`: seconds since a packet."""

    service: int
    backend: int
    family: int
    protocol: str
    client: str
    frontend: str
    endpoint: str
    masqueraded: bool
    age: float


def _flows(maps: Mapping[str, Fd], version: int) -> Iterator[tuple[_Ends, int, _Ends, int, int, int, int]]:
    """Key, protocol, what it becomes, backend, service, flags, time: of every flow in the direction of its first packet."""
    key_form, form = _FORMS[version]
    for keys, values, count in library.lookup_batch(maps[f"flows{version}"]):
        for at in range(count):
            *ends, protocol = key_form.unpack_from(keys, at * key_form.size)
            saddr, daddr, sport, dport, backend, service, flags, _, seen, *_ = form.unpack_from(values, at * form.size)
            if not flags & (_REPLY | _DIRECT):
                yield (ends[0], ends[1], ends[2], ends[3]), protocol, (saddr, daddr, sport, dport), backend, service, flags, seen


def purge(maps: Mapping[str, Fd], gone: Gone) -> int:
    """Remove the UDP flows, both directions, to the backends and frontends in `gone`; returns how many."""
    if not gone.backends and not gone.frontends:
        return 0
    removed = 0
    for version in (4, 6):
        anywhere = {port for v, address, port in gone.frontends if v == version and not address}
        frontends = {(entries.packed(v, a), p) for v, a, p in gone.frontends if v == version and a}
        batch: list[bytes] = []
        key_form = _FORMS[version][0]
        for ends, protocol, becomes, backend, _, _, _ in _flows(maps, version):
            port = int.from_bytes(ends[3])
            if protocol == PROTOCOLS["udp"] and (backend in gone.backends or (ends[1], port) in frontends or port in anywhere):
                saddr, daddr, sport, dport = becomes
                batch += key_form.pack(*ends, protocol), key_form.pack(daddr, saddr, dport, sport, protocol)
                removed += 1
        if batch:
            library.delete_batch(maps[f"flows{version}"], b"".join(batch), len(batch))
    return removed


def connections(maps: Mapping[str, Fd], now: int) -> list[Connection]:
    """Every translated flow. `now`: CLOCK_MONOTONIC in nanoseconds, which is what the programs stamp."""
    found = []
    for version in (4, 6):
        for ends, protocol, becomes, backend, service, _, seen in _flows(maps, version):
            client, frontend, endpoint = _end(ends[0], ends[2]), _end(ends[1], ends[3]), _end(becomes[1], becomes[3])
            age = max(now - seen, 0) / 1e9
            moved = becomes[0] != ends[0]
            found.append(Connection(service, backend, version, _NAMES.get(protocol, str(protocol)), client, frontend, endpoint, moved, age))
    return found


def _end(ip: bytes, port: bytes) -> str:
    text = entries.address(ip)
    return f"[{text}]:{int.from_bytes(port)}" if len(ip) == 16 else f"{text}:{int.from_bytes(port)}"
