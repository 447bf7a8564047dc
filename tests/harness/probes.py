"""One connection attempt from a given namespace and source address, and what became of it."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import secrets
import socket
import struct
import time
from dataclasses import dataclass

from . import netns
from .listeners import REQUEST, SCTP, family, sctp_sockets
from .loop import Loop
from .packets import PROTOCOLS, IcmpError, Packet, parse, sctp_answer, sctp_init, transport
from .taps import Arrival, Taps

__all__ = ["Fate", "Outcome", "Probe"]

RESEND = 1.0
"""Seconds after which a datagram or an INIT is sent again (TCP does so by itself)."""


class Fate(enum.Enum):
    """How an attempt ended."""

    ANSWERED = "answered"
    REJECTED = "rejected"  # ICMP port unreachable
    REFUSED = "refused"  # a reset, or another error
    SILENT = "silent"  # nothing until the timeout


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended; `listener` and `peer` as the answer says, `arrivals` as the taps saw."""

    fate: Fate
    listener: str = ""
    peer: str = ""
    detail: str = ""
    arrivals: tuple[Arrival, ...] = ()

    def __str__(self) -> str:
        text = self.fate.value
        if self.fate is Fate.ANSWERED:
            text += f" by {self.listener}, which saw {self.peer}"
        if self.detail:
            text += f" ({self.detail})"
        if self.fate is not Fate.ANSWERED:
            text += f", arrived: {', '.join(map(str, self.arrivals)) or 'nowhere'}"
        return text


class Probe:
    """Makes attempts in a topology whose listeners and taps `loop` serves."""

    def __init__(self, loop: Loop, taps: Taps) -> None:
        self._loop = loop
        self._taps = taps

    def __call__(
        self,
        namespace: str,
        src: str,
        dst: str,
        dport: int,
        proto: str = "TCP",
        *,
        sport: int = 0,
        timeout: float = 3.0,
    ) -> Outcome:
        """Connect (or send and wait) once, from a new socket bound to `src`:`sport`."""
        self._taps.clear()
        raw = proto == "SCTP" and not sctp_sockets()
        with netns.enter(namespace):
            if raw:
                attempt: _Attempt = _RawSctp(src, dst, sport, dport)
            elif proto == "UDP":
                attempt = _Datagram(src, dst, sport, dport)
            else:
                attempt = _Stream(src, dst, sport, dport, PROTOCOLS[proto])
        self._loop.add(attempt.sock, attempt.ready)
        key = (proto, src, attempt.sport, dst, dport)
        try:
            end, resend = time.monotonic() + timeout, time.monotonic() + RESEND
            while not (attempt.finished or self._error(key)) and (now := time.monotonic()) < end:
                if now >= resend:
                    attempt.resend()
                    resend = now + RESEND
                self._loop.turn(min(end, resend) - now)
        finally:
            self._loop.discard(attempt.sock)
        self._loop.drain()  # a tap may lag behind the socket
        error = self._error(key)
        return self._outcome(attempt, error)

    def _outcome(self, attempt: _Attempt, error: IcmpError | None) -> Outcome:
        arrivals = tuple(self._taps.arrivals)
        if attempt.answer:
            listener, _, peer = attempt.answer.decode().strip().partition(" ")
            return Outcome(Fate.ANSWERED, listener, peer, arrivals=arrivals)
        if error:
            what = (
                "port unreachable" if error.port_unreachable else f"ICMP type {error.kind} code {error.code}"
            )
            fate = Fate.REJECTED if error.port_unreachable else Fate.REFUSED
            return Outcome(fate, detail=f"{what} from {error.sender}", arrivals=arrivals)
        if attempt.error:
            return Outcome(Fate.REFUSED, detail=os.strerror(attempt.error), arrivals=arrivals)
        return Outcome(Fate.SILENT, arrivals=arrivals)

    def _error(self, key: tuple[str, str, int, str, int]) -> IcmpError | None:
        for error in self._taps.errors:
            about = error.about
            if (about.proto, about.src, about.sport, about.dst, about.dport) == key:
                return error
        return None


class _Attempt:
    """A socket under way: `ready` reads it; `answer` or `error` when `finished`."""

    sock: socket.socket
    sport: int

    def __init__(self) -> None:
        self.answer = b""
        self.error = 0
        self.finished = False

    def ready(self) -> None:
        try:
            data = self.receive()
        except BlockingIOError:
            return
        except OSError as failure:
            self.error, self.finished = failure.errno or errno.EIO, True
            return
        if data is not None:
            self.answer, self.finished = data, True
            self.error = 0 if data else errno.ECONNRESET

    def receive(self) -> bytes | None:
        return self.sock.recv(2048)

    def resend(self) -> None:
        """Send again what TCP would."""


class _Stream(_Attempt):
    def __init__(self, src: str, dst: str, sport: int, dport: int, proto: int) -> None:
        super().__init__()
        self.sock = socket.socket(family(dst), socket.SOCK_STREAM, proto)
        # close by RST: no TIME_WAIT
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.setblocking(False)
        self.sock.bind((src, sport))
        self.sport = self.sock.getsockname()[1]
        code = self.sock.connect_ex((dst, dport))
        # EPERM: a rule in the output path, seen by its ICMP error or silence
        if code not in (0, errno.EINPROGRESS, errno.EPERM):
            self.error, self.finished = code, True


class _Datagram(_Attempt):
    def __init__(self, src: str, dst: str, sport: int, dport: int) -> None:
        super().__init__()
        self.sock = socket.socket(family(dst), socket.SOCK_DGRAM)
        self.sock.bind((src, sport))
        self.sport = self.sock.getsockname()[1]
        self.sock.connect((dst, dport))
        self.resend()

    def resend(self) -> None:
        with contextlib.suppress(PermissionError, ConnectionError):
            self.sock.send(REQUEST)


class _RawSctp(_Attempt):
    """An INIT over a raw socket.

    Whoever has no listener stays silent: only the kernel's own SCTP would send an ABORT.
    """

    def __init__(self, src: str, dst: str, sport: int, dport: int) -> None:
        super().__init__()
        self.sock = socket.socket(family(dst), socket.SOCK_RAW, SCTP)
        self.sock.bind((src, 0))
        self.sock.connect((dst, 0))
        self.src, self.dst, self.dport = src, dst, dport
        self.sport = sport or 32768 + secrets.randbelow(28232)
        self.init = sctp_init(self.sport, dport)
        self.resend()

    def resend(self) -> None:
        with contextlib.suppress(PermissionError, ConnectionError):
            self.sock.send(self.init)

    def receive(self) -> bytes | None:
        data = self.sock.recv(2048)
        packet = (
            parse(data) if self.sock.family == socket.AF_INET else transport(SCTP, self.dst, self.src, data)
        )
        if not isinstance(packet, Packet) or (packet.src, packet.sport, packet.dport) != (
            self.dst,
            self.dport,
            self.sport,
        ):
            return None
        return sctp_answer(packet)
