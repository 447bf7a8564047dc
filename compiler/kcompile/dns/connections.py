"""TCP connections of the name server (RFC 7766): many questions each, answered in order."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from .answers import Onward

__all__ = ["Connection", "Connections"]

_IDLE = 10.0  # seconds without a whole question after which a connection is closed
_SWEEP = 2.0
_MOST = 256
_AT_ONCE = 64  # questions of one connection that are answered before others get their turn
_LENGTH = 2  # bytes before a message


class Answers(Protocol):
    """What connections ask."""

    def stream_answer(self, message: bytes, *, version: int) -> bytes | Onward | None:
        """The reply to one message; None where it gets none."""

    async def onward(self, asked: Onward) -> bytes:
        """The reply of another server."""


class Connections:
    """Every open connection. Where there are too many, the one goes that has asked nothing for longest: no
    number of silent ones, or of ones that drip, keeps anybody out.
    """

    def __init__(self, answers: Answers, most: int = _MOST) -> None:
        self.answers = answers
        self._most = most
        self._open: OrderedDict[Connection, float] = OrderedDict()  # the longest silent first
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def maker(self, version: int) -> Callable[[], Connection]:
        """A protocol factory for a listener of IP `version`."""
        return lambda: Connection(self, version)

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        while len(self._open) >= self._most:
            self._open.popitem(last=False)[0].abort()
        self.asked(connection)
        if self._sweeper is None:
            self._sweep()

    def asked(self, connection: Connection) -> None:
        """A whole question has come."""
        self._open[connection] = time.monotonic()
        self._open.move_to_end(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is over."""
        self._open.pop(connection, None)

    def close(self) -> None:
        """End all of them."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.abort()

    def _sweep(self) -> None:
        oldest = time.monotonic() - _IDLE
        while self._open and next(iter(self._open.values())) < oldest:
            self._open.popitem(last=False)[0].abort()
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(_SWEEP, self._sweep) if self._open else None


class Connection(asyncio.Protocol):
    """One client's. While it doesn't take its answers, no more questions are read."""

    def __init__(self, connections: Connections, version: int) -> None:
        self._connections, self._version = connections, version
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._is_full = self._is_scheduled = False
        self._waiting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.opened(self)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- asyncio's
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._waiting is not None:
            self._waiting.cancel()
        self._connections.closed(self)

    def abort(self) -> None:
        """Close at once: what is still to be sent is lost."""
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        """The client takes its answers too slowly."""
        self._is_full = True
        self._settle()

    def resume_writing(self) -> None:
        """It has taken them."""
        self._is_full = False
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        """Answer what has come whole."""
        self._is_scheduled = False
        replies: list[bytes] = []
        for _ in range(_AT_ONCE):
            if self._is_full or self._waiting is not None or (message := self._next()) is None:
                break
            self._connections.asked(self)
            reply = self._connections.answers.stream_answer(message, version=self._version)
            if reply is None:
                self._end(replies)
                return
            if isinstance(reply, Onward):
                self._waiting = asyncio.ensure_future(self._wait(reply))
                break
            replies += (len(reply).to_bytes(_LENGTH), reply)
        else:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)
        if replies and self._transport is not None:
            self._transport.write(b"".join(replies))
        self._settle()

    def _next(self) -> bytes | None:
        """The next message; None where it isn't there yet, or the connection is over."""
        buffer = self._buffer
        length = int.from_bytes(buffer[:_LENGTH])
        if self._transport is None or len(buffer) < _LENGTH + length or len(buffer) < _LENGTH:
            return None
        message = bytes(buffer[_LENGTH : _LENGTH + length])
        del buffer[: _LENGTH + length]
        return message

    def _settle(self) -> None:
        """Read on, unless there is enough to do."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._is_full or self._is_scheduled or self._waiting is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _end(self, replies: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.write(b"".join(replies))
            self._transport.close()

    async def _wait(self, asked: Onward) -> None:
        reply = await self._connections.answers.onward(asked)
        self._waiting = None
        if self._transport is not None:
            self._transport.write(len(reply).to_bytes(_LENGTH) + reply)
            self._go_on()
