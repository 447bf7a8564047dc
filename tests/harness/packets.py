"""The few packet formats that the harness reads and writes itself: IP headers, ICMP errors, SCTP.

SCTP is spoken over raw sockets where the kernel has no SCTP sockets: an INIT out, an INIT ACK back whose
state cookie carries the listener's answer. Connection tracking and NAT treat that as any association's first
half (RFC 9260).
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
from dataclasses import dataclass

__all__ = [
    "PROTOCOLS",
    "IcmpError",
    "Packet",
    "canonical",
    "join",
    "parse",
    "sctp_answer",
    "sctp_init",
    "sctp_reply",
    "split",
    "transport",
]

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_ICMP, _ICMPV6 = 1, 58
_INIT, _INIT_ACK, _COOKIE = 1, 2, 7


def canonical(ip: str) -> str:
    """An IP address in its one canonical spelling."""
    return str(ipaddress.ip_address(ip))


def join(ip: str, port: int) -> str:
    """``10.0.0.1:80`` or ``[fd00::1]:80``."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def split(text: str) -> tuple[str, int]:
    """The reverse of `join`, the address made canonical."""
    ip, _, port = text.strip().rpartition(":")
    if not ip or not port.isdigit():
        raise ValueError(f"{text!r} isn't ADDRESS:PORT")
    return canonical(ip.strip("[]")), int(port)


@dataclass(frozen=True)
class Packet:
    """A TCP, UDP or SCTP packet.

    `opens`: it begins a connection (SYN, INIT; any datagram). `payload`: what follows the ports.
    """

    proto: str
    src: str
    sport: int
    dst: str
    dport: int
    opens: bool
    payload: bytes = b""

    def __str__(self) -> str:
        return f"{self.proto} {join(self.src, self.sport)} > {join(self.dst, self.dport)}"


@dataclass(frozen=True)
class IcmpError:
    """A destination unreachable and the packet it quotes. `port_unreachable` is what a REJECT rule sends."""

    sender: str
    kind: int
    code: int
    version: int
    about: Packet

    @property
    def port_unreachable(self) -> bool:
        return (self.kind, self.code) == ((3, 3) if self.version == 4 else (1, 4))


def transport(proto: int, src: str, dst: str, data: bytes, *, quoted: bool = False) -> Packet | None:
    """The packet of protocol number `proto` whose transport header begins `data`.

    None also for SCTP with a wrong checksum, which its receiver drops. `quoted`: by an ICMP error.
    """
    if proto not in _NAMES or len(data) < 8:
        return None
    sport, dport = struct.unpack_from("!HH", data)
    opens = True
    if proto == PROTOCOLS["TCP"]:
        opens = len(data) > 13 and data[13] & 0x16 == 0x02  # SYN without ACK or RST
    elif proto == PROTOCOLS["SCTP"]:
        opens = len(data) > 12 and data[12] == _INIT
        if not quoted and data != _sealed(data[:8] + bytes(4) + data[12:]):
            return None
    return Packet(_NAMES[proto], src, sport, dst, dport, opens, data[8:])


def parse(data: bytes, *, quoted: bool = False) -> Packet | IcmpError | None:
    """What an IP packet is, or None where it doesn't matter here (other protocols, echo, neighbour discovery,
    fragments).
    """
    if len(data) < 20:
        return None
    if data[0] >> 4 == 4:
        src, dst = _text(data[12:16]), _text(data[16:20])
        proto, body, icmp = data[9], data[(data[0] & 15) * 4 :], _ICMP
    elif data[0] >> 4 == 6 and len(data) >= 40:
        src, dst = _text(data[8:24]), _text(data[24:40])
        proto, body, icmp = data[6], data[40:], _ICMPV6
    else:
        return None
    if proto != icmp:
        return transport(proto, src, dst, body, quoted=quoted)
    version = data[0] >> 4
    if len(body) < 8 or body[0] != (3 if version == 4 else 1):
        return None
    about = parse(body[8:], quoted=True)
    return IcmpError(src, body[0], body[1], version, about) if isinstance(about, Packet) else None


def _text(raw: bytes) -> str:
    # a case has thousands of packets: ipaddress takes ten times as long
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        rows.append(crc)
    return tuple(rows)


_CRC32C = _table()


def _sealed(packet: bytes) -> bytes:
    """`packet` with its CRC32c (little-endian) at offset 8."""
    crc = 0xFFFFFFFF
    for byte in packet:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 255]
    return packet[:8] + struct.pack("<I", crc ^ 0xFFFFFFFF) + packet[12:]


def _chunk(sport: int, dport: int, verification: int, kind: int, extra: bytes = b"") -> bytes:
    body = struct.pack("!IIHHI", secrets.randbits(31) | 1, 65536, 1, 1, secrets.randbits(32)) + extra
    header = struct.pack("!HHII", sport, dport, verification, 0)
    return _sealed(header + struct.pack("!BBH", kind, 0, 4 + len(body)) + body + b"\0" * (-len(body) % 4))


def sctp_init(sport: int, dport: int) -> bytes:
    """An SCTP packet with one INIT chunk."""
    return _chunk(sport, dport, 0, _INIT)


def sctp_reply(init: Packet, answer: bytes) -> bytes:
    """The INIT ACK to `init`, `answer` in its state cookie."""
    # the payload begins at the checksum: 4 bytes, then the chunk header: 4
    tag = struct.unpack_from("!I", init.payload, 8)[0]
    cookie = struct.pack("!HH", _COOKIE, 4 + len(answer)) + answer
    return _chunk(init.dport, init.sport, tag, _INIT_ACK, cookie)


def sctp_answer(packet: Packet) -> bytes | None:
    """The answer inside an INIT ACK; None for any other packet."""
    data = packet.payload
    if len(data) < 28 or data[4] != _INIT_ACK:
        return None
    kind, length = struct.unpack_from("!HH", data, 24)
    return data[28 : 24 + length] if kind == _COOKIE else None
