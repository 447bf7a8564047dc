"""Servers that answer each connection with ``LISTENER PEER``: their own ip:port and the peer's address as
they saw it.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct

from . import netns
from .loop import Loop
from .packets import PROTOCOLS, Packet, join, parse, sctp_reply, transport

__all__ = ["REQUEST", "Listeners", "family", "sctp_sockets"]

REQUEST = b"who?\n"
"""What a UDP probe sends; answers never look like it."""

SCTP = PROTOCOLS["SCTP"]


def family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


@functools.cache
def sctp_sockets() -> bool:
    """Whether the kernel has SCTP sockets; where it hasn't, listeners and probes speak SCTP over raw ones."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, SCTP).close()
    except OSError:
        return False
    return True


class Listeners:
    """The listeners of one topology, served by `loop`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open: set[tuple[str, str, int, str]] = set()
        self._raw: set[tuple[str, socket.AddressFamily]] = set()

    def open(self, namespace: str, ip: str, port: int, proto: str = "TCP") -> None:
        """Answer `proto` on `ip`:`port` in `namespace`; a second time is fine."""
        key = (namespace, ip, port, proto)
        if key in self._open:
            return
        with netns.enter(namespace):
            if proto == "UDP":
                self._datagrams(ip, port)
            elif proto == "TCP" or sctp_sockets():
                self._streams(ip, port, PROTOCOLS[proto])
            else:
                self._raw_sctp(namespace, ip)
        self._open.add(key)

    def _streams(self, ip: str, port: int, proto: int) -> None:
        sock = socket.socket(family(ip), socket.SOCK_STREAM, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        sock.listen(512)
        name = join(ip, port)

        def accept() -> None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                connection, peer = sock.accept()
                with connection, contextlib.suppress(OSError):
                    connection.send(_answer(name, peer[0]))

        self._loop.add(sock, accept)

    def _datagrams(self, ip: str, port: int) -> None:
        sock = socket.socket(family(ip), socket.SOCK_DGRAM)
        sock.bind((ip, port))
        name = join(ip, port)

        def reply() -> None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                request, peer = sock.recvfrom(256)
                if request == REQUEST:
                    sock.sendto(_answer(name, peer[0]), peer)

        self._loop.add(sock, reply)

    def _raw_sctp(self, namespace: str, ip: str) -> None:
        kind = family(ip)
        if (namespace, kind) in self._raw:
            return
        self._raw.add((namespace, kind))
        sock = socket.socket(kind, socket.SOCK_RAW, SCTP)
        if kind == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self._loop.add(sock, functools.partial(self._answer_sctp, namespace, sock))

    def _answer_sctp(self, namespace: str, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            data, ancillary, _, peer = sock.recvmsg(2048, 64)
            packet = (
                _with_destination(data, ancillary, peer[0]) if sock.family == socket.AF_INET6 else parse(data)
            )
            if not isinstance(packet, Packet) or not packet.opens:
                return
            if (namespace, packet.dst, packet.dport, "SCTP") in self._open:
                answer = _answer(join(packet.dst, packet.dport), packet.src)
                with netns.enter(namespace), socket.socket(sock.family, socket.SOCK_RAW, SCTP) as sender:
                    sender.bind((packet.dst, 0))
                    sender.sendto(sctp_reply(packet, answer), (packet.src, 0))


def _answer(name: str, peer: str) -> bytes:
    return f"{name} {peer}\n".encode()


def _with_destination(data: bytes, ancillary: list[tuple[int, int, bytes]], peer: str) -> Packet | None:
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return transport(
                SCTP, peer, socket.inet_ntop(socket.AF_INET6, struct.unpack("16sI", value)[0]), data
            )
    return None
