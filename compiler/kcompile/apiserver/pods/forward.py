"""Port forwarding: connections to a pod, as pairs of SPDY streams inside one WebSocket (KEP-4006).

For each connection the client opens an error stream and a data stream with one request id. The error stream
says why a connection can't be, or just ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ..status import StatusError, bad_request
from .spdy import Frame, FrameError, Kind, Spdy, data_frame, pong

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["PROTOCOL", "forward_answer"]

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_PIECE = 32 * 1024
_WAITING = 64  # pieces from the client that a connection may lag behind
Connect = Callable[[int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def forward_answer(request: web.Request, connect: Connect) -> web.StreamResponse:
    """Forward connections until the client goes. `connect` makes one to a port of the pod.

    :raises StatusError: 400, where the client doesn't ask for the protocol
    """
    from aiohttp import web

    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    if PROTOCOL not in (each.strip() for each in offered):
        raise bad_request(f"port-forward needs a WebSocket with the protocol {PROTOCOL}")
    socket = web.WebSocketResponse(protocols=(PROTOCOL,))
    await socket.prepare(request)
    forwarding = _Forwarding(socket, connect)
    try:
        async for message in socket:
            if isinstance(message.data, bytes):
                await forwarding.feed(message.data)
    except FrameError:
        await socket.close(code=1002, message=b"this is not SPDY/3")
    finally:
        await forwarding.close()
    return socket


class _Forwarding:
    """All connections of one client."""

    def __init__(self, socket: web.WebSocketResponse, connect: Connect) -> None:
        self._socket, self._connect, self._spdy = socket, connect, Spdy()
        self._errors: dict[str, int] = {}  # error streams by request id
        self._incoming: dict[int, asyncio.Queue[bytes]] = {}  # by data stream; an empty piece is the end
        self._tasks: set[asyncio.Task[None]] = set()

    async def feed(self, data: bytes) -> None:
        """Take what the client has sent.

        :raises FrameError: where that isn't SPDY
        """
        for frame in self._spdy.feed(data):
            await self._take(frame)

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.OPEN:
            await self._socket.send_bytes(self._spdy.reply(frame.stream))
            self._open(frame)
        elif frame.kind is Kind.PING:
            await self._socket.send_bytes(pong(frame.stream))
        elif (incoming := self._incoming.get(frame.stream)) is not None:
            if frame.kind is Kind.DATA and frame.data:
                await incoming.put(frame.data)
            if frame.last or frame.kind is Kind.RESET:
                await incoming.put(b"")
                del self._incoming[frame.stream]

    def _open(self, frame: Frame) -> None:
        """The error stream comes first, and the data stream begins the connection."""
        name, kind = frame.headers.get("requestid", ""), frame.headers.get("streamtype")
        if kind == "error":
            self._errors[name] = frame.stream
            return
        port = frame.headers.get("port", "")
        if kind != "data" or name not in self._errors or not port.isdigit():
            raise FrameError("a stream that is neither an error stream nor the data stream of one")
        incoming = self._incoming[frame.stream] = asyncio.Queue(_WAITING)
        work = self._forward(int(port), self._errors.pop(name), frame.stream, incoming)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, port: int, errors: int, stream: int, incoming: asyncio.Queue[bytes]) -> None:
        """One connection, from its beginning to the end of what the pod writes."""
        why = b""
        try:
            reader, writer = await self._connect(port)
        except (OSError, StatusError) as error:
            why = f"error forwarding port {port}: {error}".encode()
        else:
            await self._join(reader, writer, stream, incoming)
        with contextlib.suppress(ConnectionError):
            await self._socket.send_bytes(data_frame(errors, why, last=True))
            await self._socket.send_bytes(data_frame(stream, b"", last=True))

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stream: int,
        incoming: asyncio.Queue[bytes],
    ) -> None:
        sending = asyncio.create_task(_send(incoming, writer))
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(_PIECE):
                    await self._socket.send_bytes(data_frame(stream, data))
        finally:
            self._incoming.pop(stream, None)
            while not incoming.empty():
                incoming.get_nowait()  # `_take` may wait for room
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.close()


async def _send(incoming: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
    """What the client writes, to the pod as long as that takes it; then the end of it."""
    with contextlib.suppress(ConnectionError):
        while data := await incoming.get():
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return
    while await incoming.get():
        pass
