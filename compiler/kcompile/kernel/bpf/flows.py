"""The flow maps: list every translated connection; remove UDP flows to removed backends and frontends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ...targets.xdp import layout
from ...targets.xdp.resources import PROTOCOLS
from .. import ctnetlink
from . import entries, library
from .observe import State
from .syscall import Fd
from .writer import Gone

__all__ = ["Connection", "connections", "filling", "nearly_full", "purge", "reasons", "served", "translated"]

_REPLY, _DIRECT = layout.CONSTANTS["FLOW_REPLY"], layout.CONSTANTS["FLOW_DIRECT"]
_OPENING = layout.CONSTANTS["FLOW_OPENING"]
_NEARLY_FULL = 0.8
_UDP_IDLE = 120 * 10**9  # nanoseconds; conntrack's timeout of an idle UDP stream
_CLOSING = layout.CONSTANTS["FLOW_CLOSING"]
_FORMS = {4: (layout.FLOW_KEY4, layout.FLOW4), 6: (layout.FLOW_KEY6, layout.FLOW6)}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_Chosen = Callable[[bytes, bytes], Sequence[int]]
_Ends = tuple[bytes, bytes, bytes, bytes]  # source and destination address, source and destination port


class Connection(msgspec.Struct, frozen=True, rename="camel"):
    """One translated flow, as the client started it. `age`: seconds since a packet."""

    service: str
    family: int
    protocol: str
    client: str
    frontend: str
    endpoint: str
    masqueraded: bool
    age: float


def _flows(
    maps: Mapping[str, Fd], version: int, chosen: _Chosen | None = None
) -> Iterator[tuple[_Ends, int, _Ends, int, int, int, int]]:
    """Key, protocol, what it becomes, backend, service, flags, time: of every flow in the direction of its
    first packet.

    `chosen`: which entries of a piece to look at; all without it.
    """
    key_form, form = _FORMS[version]
    pieces = (piece for name in layout.flow_maps(version) for piece in library.lookup_batch(maps[name]))
    known: set[tuple[Any, ...]] = set()  # those of established connections may be in the other map too
    for keys, values, count in pieces:
        for at in range(count) if chosen is None else chosen(keys, values):
            *ends, protocol = key_form.unpack_from(keys, at * key_form.size)
            saddr, daddr, sport, dport, backend, service, flags, _, seen, *_ = form.unpack_from(
                values, at * form.size
            )
            if flags & _OPENING:  # the client's entry isn't made yet: what it will be
                ends, (saddr, daddr, sport, dport) = (
                    [daddr, saddr, dport, sport],
                    (ends[1], ends[0], ends[3], ends[2]),
                )
                flags &= ~(_REPLY | _OPENING)
            if not flags & (_REPLY | _DIRECT) and (protocol, *ends) not in known:
                known.add((protocol, *ends))
                yield (
                    (ends[0], ends[1], ends[2], ends[3]),
                    protocol,
                    (saddr, daddr, sport, dport),
                    backend,
                    service,
                    flags,
                    seen,
                )


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
        for ends, protocol, becomes, backend, _, _, _ in _flows(maps, version, _perhaps(version, gone)):
            port = int.from_bytes(ends[3])
            if protocol == PROTOCOLS["udp"] and (
                backend in gone.backends or (ends[1], port) in frontends or port in anywhere
            ):
                saddr, daddr, sport, dport = becomes
                batch += key_form.pack(*ends, protocol), key_form.pack(daddr, saddr, dport, sport, protocol)
                removed += 1
        if batch:
            for name in layout.flow_maps(version):
                library.delete_batch(maps[name], b"".join(batch), len(batch))
    return removed


def _perhaps(version: int, gone: Gone) -> _Chosen:
    """UDP flows to a backend in `gone`, or to the port of a frontend there: found among thousands at once."""
    import numpy as np

    key_form, form = _FORMS[version]
    addresses = 2 * (4 if version == 4 else 16)
    key = np.dtype(
        {
            "names": ["port", "protocol"],
            "formats": [">u2", "u1"],
            "offsets": [addresses + 2, addresses + 4],
            "itemsize": key_form.size,
        }
    )
    value = np.dtype(
        {"names": ["backend"], "formats": ["=u4"], "offsets": [addresses + 4], "itemsize": form.size}
    )
    backends = np.array(sorted(gone.backends), dtype=np.uint32)
    ports = np.array(sorted({port for v, _, port in gone.frontends if v == version}), dtype=np.uint16)

    def chosen(keys: bytes, values: bytes) -> Sequence[int]:
        rows, becomes = np.frombuffer(keys, dtype=key), np.frombuffer(values, dtype=value)
        left = np.isin(becomes["backend"], backends) | np.isin(rows["port"], ports)
        at: list[int] = np.nonzero(left & (rows["protocol"] == PROTOCOLS["udp"]))[0].tolist()
        return at

    return chosen


def nearly_full(filled: Mapping[str, tuple[int, int]]) -> set[str]:
    """The maps of `filling` that have little room left."""
    return {name for name, (count, room) in filled.items() if count >= _NEARLY_FULL * room}


def filling(maps: Mapping[str, Fd], now: int) -> dict[str, tuple[int, int]]:
    """How many entries of established connections there are in each IP version's map, without UDP that has
    been idle for so long that it may go; and how many it has room for.

    `now`: CLOCK_MONOTONIC in nanoseconds.
    """
    import numpy as np

    found = {}
    for version in (4, 6):
        name = layout.flow_maps(version)[0]
        key_form, form = _FORMS[version]
        seen_at = form.size - 24  # before ifindex (4) and macs (12): last_seen (8)
        entries_seen = 0
        for keys, values, _ in library.lookup_batch(maps[name]):
            protocol = np.frombuffer(keys, np.uint8).reshape(-1, key_form.size)[:, -4]
            seen = np.ascontiguousarray(
                np.frombuffer(values, np.uint8).reshape(-1, form.size)[:, seen_at : seen_at + 8]
            ).view(np.uint64)[:, 0]
            gone = (protocol == PROTOCOLS["udp"]) & (seen < max(now - _UDP_IDLE, 0))
            entries_seen += int(np.count_nonzero(~gone))
        found[name] = entries_seen, library.map_info(maps[name]).max_entries
    return found


def translated(maps: Mapping[str, Fd], now: int) -> list[ctnetlink.Connection]:
    """Every open connection, as ctnetlink.create takes it.

    Not SCTP's: conntrack would need the verification tags. `now`: CLOCK_MONOTONIC in nanoseconds.
    """
    found = []
    for version in (4, 6):
        for ends, protocol, becomes, _, _, flags, seen in _flows(maps, version):
            saddr, daddr, sport, dport = becomes
            idle = protocol == PROTOCOLS["udp"] and now - seen > _UDP_IDLE
            if not flags & _CLOSING and not idle and protocol != PROTOCOLS["sctp"]:
                answer = ctnetlink.Tuple(daddr, saddr, dport, sport)
                found.append(ctnetlink.Connection(version, protocol, ctnetlink.Tuple(*ends), answer))
    return found


def connections(maps: Mapping[str, Fd], state: State, now: int) -> list[Connection]:
    """Every translated flow, the latest first.

    `now`: CLOCK_MONOTONIC in nanoseconds, which is what the programs stamp.
    """
    names = {number: service[2] for service, number in state.services.items()}
    found = []
    for version in (4, 6):
        for ends, protocol, becomes, _, service, _, seen in _flows(maps, version):
            client, frontend = _end(ends[0], ends[2]), _end(ends[1], ends[3])
            endpoint = _end(becomes[1], becomes[3])
            age = round(max(now - seen, 0) / 1e9, 1)
            name, proto = names.get(service, f"#{service}"), _NAMES.get(protocol, str(protocol)).upper()
            found.append(
                Connection(name, version, proto, client, frontend, endpoint, becomes[0] != ends[0], age)
            )
    return sorted(found, key=lambda c: c.age)


def served(maps: Mapping[str, Fd], state: State) -> list[str]:
    """A line for each backend that has served packets: its connections, packets and bytes."""
    size = layout.COUNTER.size * library.possible_cpus()
    lines = []
    names = {number: service for service, number in state.services.items()}
    for service, ends in state.backends.items():
        if service not in names:
            continue
        _, protocol, name = names[service]
        for (ip, port), number in ends.items():
            value = library.lookup(maps["counters"], layout.INDEX.pack(number), size) or bytes(size)
            each_cpu = layout.COUNTER.iter_unpack(value)
            connections, packets, octets = (sum(column) for column in zip(*each_cpu, strict=True))
            if packets:
                end = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
                counts = f"{connections} connections, {packets} packets, {octets} bytes"
                lines.append(f"counter {name} ({protocol}) {end}: {counts}")
    return lines


def reasons(maps: Mapping[str, Fd]) -> list[str]:
    """A line for each reason for which packets weren't served."""
    size = layout.REASON.size * library.possible_cpus()
    lines = []
    for name, number in layout.CONSTANTS.items():
        if not name.startswith("REASON_"):
            continue
        value = library.lookup(maps["reasons"], layout.INDEX.pack(number), size) or b""
        count = sum(n for (n,) in layout.REASON.iter_unpack(value))
        if count:
            reason = name.removeprefix("REASON_").replace("_", " ").lower()
            lines.append(f"counter {reason}: {count} packets")
    return lines


def _end(ip: bytes, port: bytes) -> str:
    text = entries.address(ip)
    return f"[{text}]:{int.from_bytes(port)}" if len(ip) == 16 else f"{text}:{int.from_bytes(port)}"
