"""Frames as words: ``tcp client:4000 > web:80 S`` is a frame, and a frame read back is such a line.

    tcp|udp|sctp SOURCE:PORT > DESTINATION:PORT [FLAGS] [ttl=N]
    echo SOURCE > DESTINATION
    unreachable|toobig|exceeded SOURCE > DESTINATION about LINE

SCTP's flags say what its only chunk is: S INIT, SA INIT ACK, A COOKIE ECHO, P DATA, F SHUTDOWN, FA SHUTDOWN
ACK, FR SHUTDOWN COMPLETE, R ABORT.

Names are those of `BOOK`, one address for each family; plain addresses do too. Reading checks every length
and checksum anew, by arithmetic of its own.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
from dataclasses import dataclass, field

__all__ = ["BOOK", "MACS", "Frame", "address", "crc32c", "frame", "ones_complement", "read"]

BOOK = {
    "node": ("192.168.1.1", "fd01::1"), "gateway": ("192.168.1.254", "fd01::fe"),
    "other": ("192.168.1.2", "fd01::2"),
    "pods": ("10.0.0.1", "fd02::1"), "near": ("10.0.0.2", "fd02::2"), "near2": ("10.0.0.3", "fd02::3"),
    "far": ("10.1.0.2", "fd03::2"), "far2": ("10.1.0.3", "fd03::3"), "lost": ("10.9.0.2", "fd09::2"),
    "client": ("203.0.113.9", "2001:db8:9::9"), "stranger": ("198.51.100.77", "2001:db8:77::77"),
    "web": ("10.96.0.1", "fdff::1"), "api": ("10.96.0.2", "fdff::2"), "host": ("10.96.0.3", "fdff::3"),
    "empty": ("10.96.0.4", "fdff::4"), "closed": ("10.96.0.5", "fdff::5"), "sticky": ("10.96.0.6", "fdff::6"),
    "ranged": ("198.51.100.1", "2001:db8:1::1"), "open": ("10.96.0.7", "fdff::7"),
    "pool": ("10.96.0.8", "fdff::8"),
    "free": ("10.96.0.99", "fdff::99"), "stale": ("10.96.0.9", "fdff::9"),
}  # fmt: skip
MACS = {
    name: bytes([2, 0, 0, 0, 0, number])
    for number, name in enumerate(("eth0", "gateway", "other", "near", "near2", "veth", "veth2"), 1)
}
_NAMES = {
    socket.inet_pton(family, pair[i]): name
    for name, pair in BOOK.items()
    for i, family in enumerate((socket.AF_INET, socket.AF_INET6))
}
_TCP_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
_LINE = re.compile(
    r"(tcp|udp|sctp|echo|unreachable|toobig|exceeded) (\S+) > (\S+)"
    r"(?: ([SAFRP]+))?(?: ttl=(\d+))?(?: about (.*))?$"
)
_CHUNKS = {"S": 1, "SA": 2, "A": 10, "P": 0, "F": 7, "FA": 8, "FR": 14, "R": 6}
_ERRORS = {"unreachable": ((3, 3), (1, 4)), "toobig": ((3, 4), (2, 0)), "exceeded": ((11, 0), (3, 0))}


def address(name: str, version: int) -> bytes:
    """The address in network order; of a name, that of IP `version`."""
    text = BOOK[name][version == 6] if name in BOOK else name
    return ipaddress.ip_address(text).packed


def ones_complement(data: bytes) -> int:
    """RFC 1071, word by word."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total += word
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def crc32c(data: bytes) -> bytes:
    """RFC 9260, appendix A, bit by bit: as it stands in the packet."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def _pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    form = "!BBH" if len(source) == 4 else "!I3xB"
    return (
        source
        + destination
        + (
            struct.pack(form, 0, protocol, length)
            if len(source) == 4
            else struct.pack(form, length, protocol)
        )
    )


def _place(text: str) -> tuple[str, int]:
    name, _, port = text.rpartition(":")
    return name.strip("[]"), int(port)


def frame(
    text: str,
    version: int = 4,
    *,
    payload: bytes = b"hello",
    macs: bytes = b"",
    no_check: bool = False,
    df: bool = True,
) -> bytes:
    """The Ethernet frame that `text` says. `no_check`: UDP or SCTP without checksum."""
    macs = macs or MACS["eth0"] + MACS["gateway"]
    return (
        macs + (b"\x08\x00" if version == 4 else b"\x86\xdd") + _packet(text, version, payload, no_check, df)
    )


def _packet(text: str, version: int, payload: bytes, no_check: bool, df: bool) -> bytes:
    match = _LINE.match(text)
    assert match, text
    kind, source, destination, flags, ttl, about = match.groups()
    icmp = 1 if version == 4 else 58
    if kind in ("tcp", "udp", "sctp"):
        (source, sport), (destination, dport) = _place(source), _place(destination)
    src, dst = address(source, version), address(destination, version)
    if kind == "tcp":
        protocol, offset = 6, 16
        bits = sum(_TCP_FLAGS[f] for f in flags or "A")
        body = struct.pack(
            "!HHIIBBHHH", sport, dport, 1000, 2000 if bits & 16 else 0, 5 << 4, bits, 65535, 0, 0
        )
        body += payload if not bits & 6 else b""
    elif kind == "udp":
        protocol, offset = 17, 6
        body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    elif kind == "sctp":
        protocol, offset = 132, 0
        chunk = struct.pack("!BBH", _CHUNKS[flags or "A"], 0, 4 + len(payload)) + payload
        body = struct.pack("!HHII", sport, dport, 77, 0) + chunk + bytes(-len(payload) % 4)
        body = body[:8] + (bytes(4) if no_check else crc32c(body)) + body[12:]
    elif kind == "echo":
        protocol, offset = icmp, 2
        body = struct.pack("!BBHHH", 8 if version == 4 else 128, 0, 0, 1, 1) + payload
    else:
        protocol, offset = icmp, 2
        number, code = _ERRORS[kind][version == 6]
        # what is quoted: all of it in IPv6, the header and 8 bytes in IPv4
        quoted = _packet(about, version, payload, no_check, df)
        body = struct.pack("!BBHI", number, code, 0, 1400 if kind == "toobig" else 0) + (
            quoted[:28] if version == 4 else quoted
        )
    pseudo = b"" if protocol == 1 else _pseudo(src, dst, protocol, len(body))
    if protocol != 132 and not (no_check and protocol == 17):
        check = ones_complement(pseudo + body) or 0xFFFF
        body = body[:offset] + struct.pack("!H", check) + body[offset + 2 :]
    hops = int(ttl or 64)
    if version == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + src + dst + body
    head = (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0x4000 if df else 0, hops, protocol, 0)
        + src
        + dst
    )
    return head[:10] + struct.pack("!H", ones_complement(head)) + head[12:] + body


@dataclass
class Frame:
    """What was read. `text` is the line; the rest is what lines don't say."""

    text: str
    macs: bytes
    payload: bytes
    fields: dict[str, int] = field(default_factory=dict)


def read(data: bytes) -> Frame:
    """The line of a frame. Raises AssertionError where a length or checksum is wrong."""
    version = data[14] >> 4
    assert data[12:14] == (b"\x08\x00" if version == 4 else b"\x86\xdd")
    text, payload, fields = _read(data[14:], version, whole=True)
    return Frame(text, data[:12], payload, fields)


def _name(raw: bytes) -> str:
    return _NAMES.get(raw, str(ipaddress.ip_address(raw)))


def _read(data: bytes, version: int, *, whole: bool) -> tuple[str, bytes, dict[str, int]]:
    if version == 4:
        length, ttl, protocol = struct.unpack_from("!H", data, 2)[0], data[8], data[9]
        src, dst, head = data[12:16], data[16:20], 20
        assert data[0] == 0x45
        assert ones_complement(data[:20]) == 0, "IPv4 header checksum"
    else:
        length, protocol, ttl = 40 + struct.unpack_from("!H", data, 4)[0], data[6], data[7]
        src, dst, head = data[8:24], data[24:40], 40
    if whole:
        assert length == len(data), f"IP says {length}, the packet has {len(data)}"
    body = data[head:length]
    complete = len(data) >= length
    pseudo = b"" if protocol == 1 else _pseudo(src, dst, protocol, length - head)
    hops = f" ttl={ttl}" if ttl != 64 else ""
    if protocol in (6, 17):
        sport, dport = struct.unpack_from("!HH", body)
        ends = f"{_name(src)}:{sport} > {_name(dst)}:{dport}"
        if protocol == 17:
            check = struct.unpack_from("!H", body, 6)[0]
            if complete and check:
                assert ones_complement(pseudo + body) == 0, f"UDP checksum of {ends}"
            return f"udp {ends}{hops}", body[8:], {"check": check}
        if not complete:
            return f"tcp {ends}{hops}", b"", {}
        assert ones_complement(pseudo + body) == 0, f"TCP checksum of {ends}"
        sequence, acknowledgement, offset, bits = struct.unpack_from("!IIBB", body, 4)
        flags = "".join(name for name, bit in _TCP_FLAGS.items() if bits & bit)
        fields = {"sequence": sequence, "acknowledgement": acknowledgement}
        return f"tcp {ends} {flags}{hops}", body[offset >> 4 << 2 :], fields
    if protocol == 132:
        return _read_sctp(body, f"{_name(src)}:{{}} > {_name(dst)}:{{}}", hops, complete=complete and whole)
    assert protocol == (1 if version == 4 else 58), protocol
    assert not complete or ones_complement(pseudo + body) == 0, "ICMP checksum"
    ends = f"{_name(src)} > {_name(dst)}{hops}"
    kind = (body[0], body[1])
    if kind[0] == (8 if version == 4 else 128):
        return f"echo {ends}", body[8:], {}
    word = next(word for word, pair in _ERRORS.items() if pair[version == 6] == kind)
    about, payload, fields = _read(body[8:], version, whole=False)
    fields["mtu"] = struct.unpack_from("!I", body, 4)[0]
    return f"{word} {ends} about {about}", payload, fields


def _read_sctp(body: bytes, ends: str, hops: str, *, complete: bool) -> tuple[str, bytes, dict[str, int]]:
    ends = ends.format(*struct.unpack_from("!HH", body))
    if not complete:
        return f"sctp {ends}{hops}", b"", {}
    check = body[8:12]
    assert check in (bytes(4), crc32c(body[:8] + bytes(4) + body[12:])), f"CRC of {ends}"
    word = next(word for word, chunk in _CHUNKS.items() if chunk == body[12])
    return f"sctp {ends} {word}{hops}", body[16:], {"check": int.from_bytes(check, "little")}
