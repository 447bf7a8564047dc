"""Netlink in batches: many messages a send, an acknowledgement of the last only, errors by message.

pyroute2 takes 230 to 770 us for one message, the kernel 1 to 2 us. So messages that come in thousands are
packed here, byte for byte as pyroute2 would (tests/unit/ipvs); pyroute2 sends the others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence

from ..errors import KernelError, UnsupportedError

__all__ = [
    "DUMP",
    "NETLINK_GENERIC",
    "NETLINK_NETFILTER",
    "NETLINK_ROUTE",
    "OVERRUN",
    "REQUEST",
    "Failed",
    "Netlink",
    "Request",
    "Sockets",
    "attribute",
    "attributes",
    "generic_family",
    "message",
    "opened",
]

NETLINK_ROUTE, NETLINK_NETFILTER, NETLINK_GENERIC = 0, 12, 16
REQUEST, _ACK, DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE, OVERRUN = 2, 3, 4
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_BUFFER = 8 << 20
_BATCH, _BATCH_BYTES = 512, 1 << 20
_HEADER = struct.Struct("=IHHII")
_ERRNO = struct.Struct("=i")
_ATTRIBUTE = struct.Struct("=HH")

Request = tuple[int, int, bytes]
"""Type, flags and payload of a message."""
Failed = Callable[[int, int, memoryview], None]
"""Called for each refused request: its index, the errno, and what of its payload the kernel sent back (mostly
nothing: NETLINK_CAP_ACK).
"""

_CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 3, 1, 2


def attribute(kind: int, data: bytes) -> bytes:
    """One struct nlattr, padded."""
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def attributes(data: bytes | memoryview, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The attributes between two offsets: kind, and where the value starts and ends."""
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, at + 4, at + length
        at += (length + 3) & ~3


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One netlink message."""
    return _HEADER.pack(16 + len(payload), kind, flags, sequence, 0) + payload


class Netlink:
    """A socket in the current network namespace; a context manager.

    `groups`: a bit for each multicast group whose notifications it gets, for `notifications`.
    """

    def __init__(self, protocol: int, groups: int = 0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        for name, forced in ((socket.SO_SNDBUF, _SO_SNDBUFFORCE), (socket.SO_RCVBUF, _SO_RCVBUFFORCE)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, _BUFFER)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, name, _BUFFER)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.bind((0, groups))
        self._buffer = bytearray(1 << 18)
        self._sequence = 0
        self.families: dict[str, int] = {}  # ids of generic netlink families that were asked for

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    def send(self, requests: Sequence[Request], failed: Failed) -> None:
        """Send `requests` in batches. `failed` is called for each that the kernel refused."""
        start = size = 0
        for at, (_, _, payload) in enumerate(requests):
            if at - start == _BATCH or size > _BATCH_BYTES:
                self._send(requests[start:at], start, failed)
                start, size = at, 0
            size += len(payload)
        if start < len(requests):
            self._send(requests[start:], start, failed)

    def _send(self, requests: Sequence[Request], start: int, failed: Failed) -> None:
        first = self._sequence + 1
        last = self._sequence = self._sequence + len(requests)
        pack = _HEADER.pack
        parts: list[bytes] = []
        for sequence, (kind, flags, payload) in enumerate(requests, first):
            flags |= REQUEST | _ACK if sequence == last else REQUEST
            parts += (pack(16 + len(payload), kind, flags, sequence, 0), payload)
        self._socket.send(b"".join(parts))
        while True:
            view = self._receive()
            for at, kind, sequence, length in _messages(view):
                if kind != _ERROR or not first <= sequence <= last:
                    continue
                (code,) = _ERRNO.unpack_from(view, at + 16)
                if code:
                    failed(start + sequence - first, -code, view[at + 36 : at + length])
                if sequence == last:
                    return

    def dump(self, kind: int, payload: bytes) -> Iterator[tuple[memoryview, int, int]]:
        """The answers to a dump: a buffer, and where the payload of each message starts and ends.

        Read each before the next.
        """
        self._sequence += 1
        self._socket.send(message(kind, REQUEST | DUMP, self._sequence, payload))
        while True:
            view = self._receive()
            for at, found, sequence, length in _messages(view):
                if sequence != self._sequence:
                    continue
                if found == _DONE:
                    return
                if found == _ERROR:
                    (code,) = _ERRNO.unpack_from(view, at + 16)
                    raise OSError(-code, os.strerror(-code))
                yield view, at + 16, at + length

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The payload of the one answer to a request; OSError where it is an error."""
        self._sequence += 1
        self._socket.send(message(kind, REQUEST, self._sequence, payload))
        while True:
            view = self._receive()
            for at, found, sequence, length in _messages(view):
                if sequence != self._sequence:
                    continue
                if found == _ERROR:
                    (code,) = _ERRNO.unpack_from(view, at + 16)
                    raise OSError(-code, os.strerror(-code))
                return bytes(view[at + 16 : at + length])

    def notifications(self) -> Iterator[tuple[memoryview, int, int, int]]:
        """What has come, without waiting: a buffer, a message's type, and where its payload starts and ends.

        Read each before the next. An OVERRUN is where the kernel had no room for some.
        """
        while True:
            try:
                size = self._socket.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as e:
                if e.errno != errno.ENOBUFS:
                    raise KernelError(f"netlink: {e.strerror}") from None
                yield memoryview(b""), OVERRUN, 0, 0
                continue
            view = memoryview(self._buffer)[:size]
            for at, kind, _, length in _messages(view):
                yield view, kind, at + 16, at + length

    def _receive(self) -> memoryview:
        try:
            size = self._socket.recv_into(self._buffer)
        except OSError as e:
            raise KernelError(f"netlink: {os.strerror(e.errno or errno.EIO)}") from None
        return memoryview(self._buffer)[:size]


class Sockets:
    """Sockets that stay open, one a protocol, in the network namespace of their first use."""

    def __init__(self) -> None:
        self._open: dict[int, Netlink] = {}

    def of(self, protocol: int) -> Netlink:
        """The socket of `protocol`."""
        netlink = self._open.get(protocol)
        if netlink is None:
            netlink = self._open[protocol] = Netlink(protocol)
        return netlink

    def close(self) -> None:
        """Close all; the next use opens new ones."""
        while self._open:
            self._open.popitem()[1].close()


@contextlib.contextmanager
def opened(sockets: Sockets | None, protocol: int) -> Iterator[Netlink]:
    """The socket of `protocol` in `sockets`; without these, one that ends with the context."""
    if sockets is not None:
        yield sockets.of(protocol)
        return
    with Netlink(protocol) as netlink:
        yield netlink


def _messages(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Offset, type, sequence number and length of each message in `view`."""
    at = 0
    while at + 16 <= len(view):
        length, kind, _, sequence, _ = _HEADER.unpack_from(view, at)
        if length < 16:
            return
        yield at, kind, sequence, length
        at += (length + 3) & ~3


def generic_family(netlink: Netlink, name: str) -> int:
    """The id of generic netlink family `name`; raises UnsupportedError where the kernel has none."""
    if name in netlink.families:
        return netlink.families[name]
    query = struct.pack("=BBH", _CTRL_GETFAMILY, 1, 0) + attribute(_CTRL_FAMILY_NAME, name.encode() + b"\0")
    try:
        answer = netlink.ask(NETLINK_GENERIC, query)
    except OSError as e:
        if e.errno == errno.ENOENT:
            hint = " (modprobe ip_vs)" if name == "IPVS" else ""
            raise UnsupportedError(f"this kernel has no {name}{hint}") from None
        raise KernelError(f"generic netlink: {e.strerror}") from None
    for kind, start, _ in attributes(answer, 4, len(answer)):
        if kind == _CTRL_FAMILY_ID:
            number: int = struct.unpack_from("=H", answer, start)[0]
            netlink.families[name] = number
            return number
    raise KernelError(f"generic netlink: no number for {name}")
