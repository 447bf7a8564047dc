"""A process's streams over one WebSocket: v5.channel.k8s.io, and v4, which can't end its input.

The first byte of each message says which stream it is of (k8s.io/apimachinery/pkg/util/remotecommand):
0 input, 1 output, 2 errors, 3 how it ended, 4 the size of the terminal, 255 the end of a stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import msgspec

from ..status import StatusError
from ..streams import Running

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["is_websocket", "stream_answer"]

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _END, _RESIZE, _CLOSE = 0, 3, 4, 255


class _Size(msgspec.Struct, rename="pascal"):
    width: int
    height: int


def is_websocket(request: web.Request) -> bool:
    """True if the client asks for one of the protocols."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
    return upgrade and any(each.strip() in _PROTOCOLS for each in offered.split(","))


async def stream_answer(request: web.Request, starting: Awaitable[Running]) -> web.StreamResponse:
    """Join the client and a process until one of them ends; a client that goes ends the process.

    A process that can't be started is a Status over the WebSocket: where that is refused, kubectl tries SPDY,
    and shows what it is told then.
    """
    from aiohttp import web

    socket = web.WebSocketResponse(protocols=_PROTOCOLS)
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError):
        try:
            await _joined(socket, await starting)
        except StatusError as error:
            await socket.send_bytes(bytes((_END,)) + error.body())
        await socket.close()
    return socket


async def _joined(socket: web.WebSocketResponse, running: Running) -> None:
    ended = False
    try:
        reading = asyncio.ensure_future(_read(socket, running))
        writing = asyncio.ensure_future(_write(socket, running))
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            ended = writing.done() and writing.exception() is None
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
    finally:
        if not ended:
            running.kill()


async def _write(socket: web.WebSocketResponse, running: Running) -> None:
    """What the process writes, and then how it ended."""
    async for stream, data in running.output():
        await socket.send_bytes(bytes((stream,)) + data)
    code = await running.wait()
    await socket.send_bytes(bytes((_END,)) + msgspec.json.encode(_result(code)))


async def _read(socket: web.WebSocketResponse, running: Running) -> None:
    """What the client writes, until it goes."""
    async for message in socket:
        data = message.data.encode() if isinstance(message.data, str) else message.data
        if data:
            _take(data[0], data[1:], running)


def _take(channel: int, data: bytes, running: Running) -> None:
    if channel == _RESIZE:
        with contextlib.suppress(msgspec.MsgspecError):
            size = msgspec.json.decode(data, type=_Size)
            running.resize(size.width, size.height)
    elif running.stdin is not None and channel == _STDIN and data:
        running.stdin.write(data)
    elif running.stdin is not None and channel == _CLOSE and data[:1] == bytes((_STDIN,)):
        running.stdin.close()


def _result(code: int) -> dict[str, Any]:
    """The Status of a process that has ended."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
