"""Conntrack entries of the current network namespace: read, deleted, by the batch (nf_conntrack_netlink.c).

The kernel leaves out other protocols and states where it can (CTA_FILTER since Linux 5.8, CTA_STATUS since 5.15); they are left out
here in any case.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from ..errors import KernelError
from .netlink import NETLINK_NETFILTER, Netlink, attribute, attributes

__all__ = ["COOKIE_WAIT", "DST_NAT", "SEEN_REPLY", "SYN_SENT", "TCP_OVER", "Entry", "delete", "entries"]

# enum ip_conntrack_status
SEEN_REPLY, DST_NAT = 0x2, 0x20
# enum tcp_conntrack, enum sctp_conntrack
SYN_SENT, COOKIE_WAIT = 1, 2
TCP_OVER = frozenset((7, 8))  # TIME_WAIT, CLOSE

_GET, _DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, _DELETE
_NESTED = 0x8000
_ORIGINAL, _REPLY, _STATUS, _PROTOCOL_INFO, _FILTER, _STATUS_MASK = 1, 2, 3, 4, 25, 26  # enum ctattr_type
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCES, _DESTINATIONS = (1, 3), (2, 4)  # CTA_IP_V4_SRC, _V6_SRC; CTA_IP_V4_DST, _V6_DST
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_BY_PROTOCOL = 1 << 3  # CTA_FILTER_F_CTA_PROTO_NUM
_STATE = 1  # CTA_PROTOINFO_TCP_STATE, CTA_PROTOINFO_SCTP_STATE
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_U32 = struct.Struct(">I")


class Tuple(NamedTuple):
    """Where a packet comes from and goes to, as it has it: 4 or 16 and 2 bytes."""

    source: bytes
    destination: bytes
    source_port: bytes
    destination_port: bytes


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


def entries(version: int, protocol: int, mask: int = 0, status: int = 0) -> Iterator[Entry]:
    """The entries of IP `version` and `protocol` whose status has exactly the bits `status` of `mask`."""
    by_protocol = attribute(_TUPLE_PROTOCOL | _NESTED, attribute(_NUMBER, bytes((protocol,))))
    flags = attribute(1, struct.pack("=I", _BY_PROTOCOL)) + attribute(2, struct.pack("=I", 0))
    query = _header(version) + attribute(_ORIGINAL | _NESTED, by_protocol) + attribute(_FILTER | _NESTED, flags)
    if mask:
        query += attribute(_STATUS, _U32.pack(status)) + attribute(_STATUS_MASK, _U32.pack(mask))
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            for view, start, end in netlink.dump(_GET, query):
                entry = _entry(version, view, start + 4, end)
                if entry is not None and entry.protocol == protocol and entry.status & mask == status:
                    yield entry
    except OSError as e:
        raise KernelError(f"conntrack: {e.strerror}") from None


def delete(gone: Collection[Entry]) -> int:
    """Delete entries; those that have ended meanwhile are no failure. Returns how many there were still."""
    requests = [(_DELETE, 0, _header(entry.version) + attribute(_ORIGINAL | _NESTED, entry.key)) for entry in gone]
    refused: list[int] = []
    with Netlink(NETLINK_NETFILTER) as netlink:
        netlink.send(requests, lambda _, code, __: refused.append(code))
    for code in refused:
        if code != errno.ENOENT:
            raise KernelError(f"conntrack: {os.strerror(code)}")
    return len(requests) - len(refused)


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
