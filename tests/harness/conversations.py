"""Connections and datagram flows that stay open, and the servers that answer on them: who, each time."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from typing import NamedTuple

from . import netns
from .listeners import family
from .loop import Loop
from .packets import join

__all__ = ["RETRY", "PLAIN", "TOO_BIG", "Conversation", "Datagrams", "Servers"]

_QUESTION = b"who?\n"
_PATIENCE = 3.0
_RESEND = 0.3
_DISCOVER = {socket.AF_INET: (0, 10), socket.AF_INET6: (41, 23)}  # IP_MTU_DISCOVER, IPV6_MTU_DISCOVER
_MTU = {socket.AF_INET: (0, 14), socket.AF_INET6: (41, 24)}  # IP_MTU, IPV6_MTU
_MAY_BE_CUT, _MUST_NOT_BE_CUT = 0, 2  # IP_PMTUDISC_DONT, IP_PMTUDISC_DO
TOO_BIG = "too big for "
"""What an answer begins with that is a router's; the MTU that it says comes next."""
RETRY = 8.0
"""Seconds in which a connect() that waits is retried by the kernel: after 1, 3 and 7."""


class Datagrams(NamedTuple):
    """Bytes of each datagram and of its answer (0: as few as it takes), and whether they may not be cut."""

    size: int = 0
    back: int = 0
    whole: bool | None = None


PLAIN = Datagrams()


class Servers:
    """Every server says its own ``ip:port`` for each thing that it is told. Served by `loop`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def open(self, namespace: str, ip: str, port: int, proto: str) -> None:
        kind = socket.SOCK_DGRAM if proto == "UDP" else socket.SOCK_STREAM
        with netns.enter(namespace):
            sock = socket.socket(family(ip), kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((ip, port))
        if proto == "UDP":
            sock.setsockopt(*_DISCOVER[family(ip)], _MAY_BE_CUT)
        name = join(ip, port).encode() + b"\n"
        if proto == "UDP":
            self._loop.add(sock, lambda: self._datagram(sock, name))
        else:
            sock.listen(64)
            self._loop.add(sock, lambda: self._accept(sock, name))

    def _datagram(self, sock: socket.socket, name: bytes) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            told, client = sock.recvfrom(65535)
            size = told.split(b"\n")[0].partition(b" ")[2]
            sock.sendto(name.ljust(int(size or b"0"), b"."), client)

    def _accept(self, listener: socket.socket, name: bytes) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection = listener.accept()[0]
            self._loop.add(connection, lambda: self._answer(connection, name))

    def _answer(self, connection: socket.socket, name: bytes) -> None:
        try:
            told = connection.recv(4096)
            connection.sendall(name * told.count(b"\n"))
        except BlockingIOError:
            return
        except OSError:
            told = b""
        if not told:
            self._loop.discard(connection)


class Conversation:
    """One TCP connection, or one UDP flow (the same socket all along), from `src` to `dst`.

    `loop` serves the servers meanwhile.

    Its methods say what became of it: ``ip:port`` of who answered, or ``silence``, or the error in words.
    """

    def __init__(
        self,
        loop: Loop,
        namespace: str,
        src: str,
        dst: str,
        dport: int,
        proto: str,
        sport: int,
        datagrams: Datagrams = PLAIN,
    ) -> None:
        self._loop, self.datagrams, self._to = loop, proto == "UDP", (dst, dport)
        self._said = b""
        self._question, self._back = _QUESTION, datagrams.back
        if self.datagrams:
            self._question = f"who? {datagrams.back}\n".encode().ljust(datagrams.size, b".")
        self._trouble = 0
        self._over = False
        with netns.enter(namespace):
            self._socket = socket.socket(
                family(src), socket.SOCK_DGRAM if self.datagrams else socket.SOCK_STREAM
            )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not self.datagrams:  # closed by a reset: no TIME_WAIT
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.bind((src, sport))
        if datagrams.whole is not None:
            how = _MUST_NOT_BE_CUT if datagrams.whole else _MAY_BE_CUT
            self._socket.setsockopt(*_DISCOVER[family(src)], how)
        self._namespace = namespace

    def start(self) -> None:
        """Send the first packet; wait for nothing."""
        self._socket.setblocking(False)
        with netns.enter(self._namespace):  # mode xdp's hooks look at who connects
            code = self._socket.connect_ex(self._to)
        self._trouble = 0 if code == errno.EINPROGRESS else code
        self._loop.add(self._socket, self._read)
        if self.datagrams:
            self._send()

    def opened(self, patience: float = RETRY) -> str:
        """Wait until it is open, `patience` seconds at most; then as `ask`."""
        if not self.datagrams and not self._loop.run(self._connected, patience):
            return "silence"
        return self.ask(patience)

    def ask(self, patience: float = _PATIENCE) -> str:
        """Say something; who answers within `patience` seconds?"""
        self._said = b""
        self._trouble = self._trouble if not self.datagrams else 0
        end = time.monotonic() + patience
        resend = 0.0
        while not self._said and not self._trouble and (now := time.monotonic()) < end:
            if now >= resend:
                self._send()
                resend = now + _RESEND if self.datagrams else end
            self._loop.turn(min(end, resend) - now)
        if self._trouble == errno.EMSGSIZE:
            return f"{TOO_BIG}{self._socket.getsockopt(*_MTU[self._socket.family])}"
        if self._trouble:
            return os.strerror(self._trouble)
        if self._said and len(self._said) < self._back:
            return f"{len(self._said)} bytes of {self._back}"
        return self._said.split(b"\n")[0].decode() or "silence"

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._loop.discard(self._socket)

    def _connected(self) -> bool:
        if self._trouble:
            return True
        with contextlib.suppress(OSError):
            return bool(self._socket.getpeername())
        return False

    def _send(self) -> None:
        try:
            self._socket.send(self._question)
        except BlockingIOError:
            return
        except OSError as failure:
            self._trouble = failure.errno or errno.EIO

    def _read(self) -> None:
        try:
            said = self._socket.recv(65535)
        except BlockingIOError:
            return
        except OSError as failure:
            said = b""
            self._trouble = failure.errno or errno.EIO
        self._said += said
        if not said and not self.datagrams:
            self._trouble = self._trouble or errno.ECONNRESET
            self.close()
