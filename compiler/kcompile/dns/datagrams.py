"""Datagrams in batches: recvmmsg(2) and sendmmsg(2), one system call each for many questions.

Python's own socket calls take one datagram each, and make an object of its address: half of what an answer
costs. Here the kernel writes addresses and questions into memory that is made once, and reads the answers,
and the addresses again, from there.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Sequence

__all__ = ["MOST", "Datagrams"]

MOST = 64
"""Datagrams in a system call."""
_LONGEST = 4096  # bytes of a question
_ROOM = 1232  # bytes of an answer: wire.MAX_UDP
_ADDRESS = {socket.AF_INET: 16, socket.AF_INET6: 28}
"""Bytes of a sockaddr, by family."""
_libc = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: these calls don't wait


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):  # recvmsg(2)
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint))


class _Vectors:
    """A batch of messages, each with `room` bytes."""

    def __init__(self, room: int) -> None:
        self._data = (ctypes.c_char * (room * MOST))()
        self._iovecs = (_Iovec * MOST)()
        self.messages = (_Mmsghdr * MOST)()
        whole = memoryview(self._data).cast("B")
        self.rooms = [whole[n * room : (n + 1) * room] for n in range(MOST)]
        for number, iovec in enumerate(self._iovecs):
            iovec.base, iovec.length = ctypes.addressof(self._data) + number * room, room
            header = self.messages[number].header
            header.iov, header.iovlen = ctypes.addressof(iovec), 1

    def lengths(self) -> memoryview:
        """How long each message is that was received."""
        word = ctypes.sizeof(ctypes.c_uint)
        start, step = _Mmsghdr.length.offset // word, ctypes.sizeof(_Mmsghdr) // word
        return memoryview(self.messages).cast("B").cast("I")[start::step]

    def sizes(self) -> memoryview:
        """How long each message is that will be sent."""
        return memoryview(self._iovecs).cast("B").cast("L")[1::2]


class Datagrams:
    """Questions that wait on `sock`, which doesn't block, and the answers to them."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._fd = sock.fileno()
        size = _ADDRESS[sock.family]
        self._names = (ctypes.c_char * (size * MOST))()
        self._taken, self._given = _Vectors(_LONGEST), _Vectors(_ROOM)
        for vectors in (self._taken, self._given):
            for number, message in enumerate(vectors.messages):
                message.header.name = ctypes.addressof(self._names) + number * size
                message.header.namelen = size
        self._lengths = self._taken.lengths()
        self._sizes = self._given.sizes()

    def received(self) -> list[bytes]:
        """The datagrams that wait: at most a batch, in order. Those received before are forgotten."""
        got: int = _libc.recvmmsg(self._fd, self._taken.messages, MOST, 0, None)
        if got <= 0:
            return []
        rooms = self._taken.rooms
        return [rooms[n][:length].tobytes() for n, length in enumerate(self._lengths[:got].tolist())]

    def client(self, number: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Who sent the datagram `number` of the last `received`, as `socket.sendto` takes it."""
        size = _ADDRESS[self.sock.family]
        name = self._names.raw[number * size : (number + 1) * size]
        port = int.from_bytes(name[2:4])
        if self.sock.family == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, name[4:8]), port
        flow, scope = int.from_bytes(name[4:8]), int.from_bytes(name[24:28], sys.byteorder)
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, flow, scope

    def send(self, replies: Sequence[object]) -> None:
        """Answer the datagrams of the last `received`, in their order; where there are no bytes, not yet.

        An answer that can't be sent is lost: its client is gone, or the buffer full, and it asks again.
        """
        rooms, sizes = self._given.rooms, self._sizes
        start = 0
        for number, reply in enumerate(replies):
            if isinstance(reply, bytes):
                size = sizes[number] = len(reply)
                rooms[number][:size] = reply
            else:
                self._send(start, number)
                start = number + 1
        self._send(start, len(replies))

    def _send(self, start: int, end: int) -> None:
        while start < end:
            first = ctypes.byref(self._given.messages, start * ctypes.sizeof(_Mmsghdr))
            sent: int = _libc.sendmmsg(self._fd, first, end - start, 0)
            start += max(sent, 1)
