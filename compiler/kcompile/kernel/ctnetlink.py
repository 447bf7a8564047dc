"""Conntrack entries of the current network namespace: read, made and deleted by the batch
(nf_conntrack_netlink.c).

The kernel leaves out other protocols and states where it can (CTA_FILTER since Linux 5.8, CTA_STATUS since
5.15); they are left out here in any case.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from ..errors import KernelError
from .netlink import NETLINK_NETFILTER, Request, Sockets, attribute, attributes, opened

__all__ = [
    "COOKIE_WAIT",
    "DST_NAT",
    "SEEN_REPLY",
    "SYN_SENT",
    "TCP_OVER",
    "Connection",
    "Entry",
    "Tuple",
    "create",
    "delete",
    "entries",
]

# enum ip_conntrack_status
SEEN_REPLY, _ASSURED, _CONFIRMED, DST_NAT = 0x2, 0x4, 0x8, 0x20
# enum tcp_conntrack, enum sctp_conntrack
SYN_SENT, COOKIE_WAIT = 1, 2
_ESTABLISHED = 3
TCP_OVER = frozenset((7, 8))  # TIME_WAIT, CLOSE

_NEW, _GET, _DELETE = 0x100, 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW, _GET, _DELETE
_CREATE = 0x400 | 0x200  # NLM_F_CREATE, NLM_F_EXCL
_NESTED = 0x8000
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_INFO, _FILTER, _STATUS_MASK = 1, 2, 3, 4, 25, 26  # enum ctattr_type
_NAT_SOURCE, _TIMEOUT, _NAT_DESTINATION = 6, 7, 13
_NAT_ADDRESSES, _NAT_PORTS = {4: (1, 2), 6: (4, 5)}, 3  # enum ctattr_nat: CTA_NAT_V4_MINIP and so on
_TCP, _TCP_FLAGS = 1, (4, 5)  # CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL and _REPLY
_BE_LIBERAL = b"\x08\x08"  # IP_CT_TCP_FLAG_BE_LIBERAL: value and mask
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, _V6_SRC; CTA_IP_V4_DST, _V6_DST
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_BY_PROTOCOL = 1 << 3  # CTA_FILTER_F_CTA_PROTO_NUM
_STATE = 1  # CTA_PROTOINFO_TCP_STATE, CTA_PROTOINFO_SCTP_STATE
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_U32 = struct.Struct(">I")
# nf_conntrack_tcp_timeout_established, nf_conntrack_udp_timeout_stream
_SECONDS = {socket.IPPROTO_TCP: 432_000, socket.IPPROTO_UDP: 120}


class Tuple(NamedTuple):
    """A packet's addresses (4 or 16 bytes) and ports (2 bytes)."""

    source: bytes
    destination: bytes
    source_port: bytes
    destination_port: bytes


class Connection(NamedTuple):
    """A translated connection: a packet of the client as it arrives, and one of the answer as it arrives."""

    version: int
    protocol: int
    original: Tuple
    reply: Tuple


class Entry(NamedTuple):
    """One conntrack entry. `reply`: a packet of the answer as it arrives. `state`: TCP's or SCTP's, else 0.

    `key` is the original tuple as the kernel wrote it.
    """

    version: int
    protocol: int
    original: Tuple
    reply: Tuple
    status: int
    state: int
    key: bytes

    def text(self, address: bytes) -> str:
        """`address` as people write it."""
        return socket.inet_ntop(_FAMILIES[self.version], address)


def entries(
    version: int, protocol: int, mask: int = 0, status: int = 0, sockets: Sockets | None = None
) -> Iterator[Entry]:
    """The entries of IP `version` and `protocol` whose status has exactly the bits `status` of `mask`.

    `sockets`: to be used, and left open. To close one takes some 10 ms after a transaction of nf_tables.
    """
    by_protocol = attribute(_TUPLE_PROTOCOL | _NESTED, attribute(_NUMBER, bytes((protocol,))))
    flags = attribute(1, struct.pack("=I", _BY_PROTOCOL)) + attribute(2, struct.pack("=I", 0))
    query = _header(version) + attribute(_ORIGINAL | _NESTED, by_protocol)
    query += attribute(_FILTER | _NESTED, flags)
    if mask:
        query += attribute(_STATUS, _U32.pack(status)) + attribute(_STATUS_MASK, _U32.pack(mask))
    try:
        with opened(sockets, NETLINK_NETFILTER) as netlink:
            for view, start, end in netlink.dump(_GET, query):
                entry = _entry(version, view, start + 4, end)
                if entry is not None and entry.protocol == protocol and entry.status & mask == status:
                    yield entry
    except OSError as e:
        raise KernelError(f"conntrack: {e.strerror}") from None


def create(connections: Sequence[Connection], replace: bool) -> None:
    """Add conntrack entries that translate open connections. TCP windows are unknown, so not checked.

    `replace`: in place of entries of the same connections without translation; else these stay. Raises
    KernelError.
    """
    requests = [(_NEW, _CREATE, _established(connection)) for connection in connections]
    known = _send(requests, errno.EEXIST)
    if replace and known:
        doubles = [connections[at] for at in known]
        _send(
            [(_DELETE, 0, _header(c.version) + _packed(_ORIGINAL, c, c.original)) for c in doubles],
            errno.ENOENT,
        )
        _send([requests[at] for at in known], errno.EEXIST)


def delete(gone: Collection[Entry], sockets: Sockets | None = None) -> int:
    """Delete entries; returns how many still existed. Raises KernelError."""
    requests = [
        (_DELETE, 0, _header(entry.version) + attribute(_ORIGINAL | _NESTED, entry.key)) for entry in gone
    ]
    return len(requests) - len(_send(requests, errno.ENOENT, sockets))


def _send(requests: Sequence[Request], harmless: int, sockets: Sockets | None = None) -> list[int]:
    """Send `requests`; returns which of them were refused for the reason `harmless`.

    KernelError for any other.
    """
    refused: dict[int, int] = {}
    if not requests:
        return []
    with opened(sockets, NETLINK_NETFILTER) as netlink:
        netlink.send(requests, lambda at, code, _: refused.update({at: code}))
    for code in refused.values():
        if code != harmless:
            raise KernelError(f"conntrack: {os.strerror(code)}")
    return sorted(refused)


def _established(connection: Connection) -> bytes:
    """The payload that creates the entry of `connection`: its untranslated tuples, then the NAT ranges."""
    version, protocol, client, answer = connection
    back = Tuple(client.destination, client.source, client.destination_port, client.source_port)
    payload = _header(version) + _packed(_ORIGINAL, connection, client) + _packed(_REPLY, connection, back)
    payload += attribute(_NAT_DESTINATION | _NESTED, _range(version, answer.source, answer.source_port))
    if (answer.destination, answer.destination_port) != (client.source, client.source_port):
        payload += attribute(
            _NAT_SOURCE | _NESTED, _range(version, answer.destination, answer.destination_port)
        )
    if protocol == socket.IPPROTO_TCP:
        tcp = attribute(_STATE, bytes((_ESTABLISHED,)))
        tcp += b"".join(attribute(kind, _BE_LIBERAL) for kind in _TCP_FLAGS)
        payload += attribute(_PROTOCOL_INFO | _NESTED, attribute(_TCP | _NESTED, tcp))
    payload += attribute(_STATUS, _U32.pack(SEEN_REPLY | _ASSURED | _CONFIRMED))
    return payload + attribute(_TIMEOUT, _U32.pack(_SECONDS[protocol]))


def _packed(kind: int, connection: Connection, ends: Tuple) -> bytes:
    """A tuple as an attribute."""
    at = 1 if connection.version == 6 else 0
    addresses = attribute(_SOURCES[at], ends.source) + attribute(_DESTINATIONS[at], ends.destination)
    ports = attribute(_NUMBER, bytes((connection.protocol,)))
    ports += attribute(_SOURCE_PORT, ends.source_port) + attribute(_DESTINATION_PORT, ends.destination_port)
    parts = attribute(_TUPLE_IP | _NESTED, addresses) + attribute(_TUPLE_PROTOCOL | _NESTED, ports)
    return attribute(kind | _NESTED, parts)


def _range(version: int, address: bytes, port: bytes) -> bytes:
    """A NAT range of one address and port."""
    first, last = _NAT_ADDRESSES[version]
    ports = attribute(1, port) + attribute(2, port)  # CTA_PROTONAT_PORT_MIN, _MAX
    return attribute(first, address) + attribute(last, address) + attribute(_NAT_PORTS | _NESTED, ports)


def _header(version: int) -> bytes:
    """struct nfgenmsg."""
    return struct.pack("=BBH", _FAMILIES[version], 0, 0)


def _entry(version: int, view: memoryview, start: int, end: int) -> Entry | None:
    """The entry in one message; None where its protocol has no ports."""
    found = {kind: (first, last) for kind, first, last in attributes(view, start, end)}
    original, reply = _tuple(view, *found[_ORIGINAL]), _tuple(view, *found[_REPLY])
    if original is None or reply is None:
        return None
    state = 0
    for _, first, last in attributes(view, *found[_PROTOCOL_INFO]) if _PROTOCOL_INFO in found else ():
        state = next((view[at] for kind, at, _ in attributes(view, first, last) if kind == _STATE), 0)
    first, last = found[_ORIGINAL]
    (status,) = _U32.unpack_from(view, found[_STATUS][0])
    return Entry(version, original[0], original[1], reply[1], status, state, bytes(view[first:last]))


def _tuple(view: memoryview, start: int, end: int) -> tuple[int, Tuple] | None:
    """The protocol and the tuple in one attribute; None where there are no ports."""
    source = destination = b""
    parts: dict[int, bytes] = {}
    for kind, first, last in attributes(view, start, end):
        for inner, at, over in attributes(view, first, last):
            if kind == _TUPLE_PROTOCOL:
                parts[inner] = bytes(view[at:over])
            elif kind == _TUPLE_IP and inner in _SOURCES:
                source = bytes(view[at:over])
            elif kind == _TUPLE_IP and inner in _DESTINATIONS:
                destination = bytes(view[at:over])
    if _SOURCE_PORT not in parts:
        return None
    return parts[_NUMBER][0], Tuple(source, destination, parts[_SOURCE_PORT], parts[_DESTINATION_PORT])
