"""A name server: UDP and TCP on every address of `listen`, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from ..errors import KernelError
from .answers import Answerer, Counts, Onward
from .connections import Connections
from .datagrams import Datagrams
from .forward import Forwarder

__all__ = ["Pair", "Server", "bound", "serve"]

_BURST = 64  # datagrams in a row, before others get their turn
_ACCEPTED, _WAITING = 16, 1024  # connections that are taken in a row, and that wait for it
_RECEIVED = 4 << 20  # bytes of questions that wait while something else is done


class Server:
    """Answers from `answerer`, or by `forwarder` what that leaves to another server."""

    def __init__(self, answerer: Answerer, forwarder: Forwarder | None = None) -> None:
        self.answerer, self.forwarder = answerer, forwarder
        self.connections = Connections(self)
        self.counts: dict[tuple[str, int], Counts] = {
            (protocol, version): {} for protocol in ("udp", "tcp") for version in (4, 6)
        }
        """Answers by protocol and IP version."""
        self._tasks: set[asyncio.Task[None]] = set()

    def stream_answer(self, message: bytes, *, version: int) -> bytes | Onward | None:
        """See `connections.Answers`."""
        return self.answerer.answer(message, self.counts["tcp", version], tcp=True)

    async def onward(self, asked: Onward) -> bytes:
        """See `connections.Answers`."""
        assert self.forwarder is not None
        return await self.forwarder.answer(asked)

    def datagrams(self, waiting: Datagrams, counts: Counts) -> None:
        """Answer the datagrams that wait: not too many, before others get their turn."""
        answer = self.answerer.answer
        number = 0
        while number < _BURST and (messages := waiting.received()):
            replies = [answer(message, counts) for message in messages]
            waiting.send(replies)
            number += len(messages)
            if self.forwarder is not None:
                self._forward(waiting, replies)

    def _forward(self, waiting: Datagrams, replies: Sequence[bytes | Onward | None]) -> None:
        """Ask another server where `replies` say so; what it says is sent when it has come."""
        for number, reply in enumerate(replies):
            if isinstance(reply, Onward):
                client = waiting.client(number)
                task = asyncio.ensure_future(self._forwarded(waiting.sock, reply, client))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _forwarded(self, sock: socket.socket, asked: Onward, client: Any) -> None:
        reply = await self.onward(asked)
        with contextlib.suppress(OSError):
            sock.sendto(reply, client)

    def close(self) -> None:
        """End what is under way."""
        self.connections.close()
        for task in self._tasks:
            task.cancel()


async def serve(
    server: Server,
    sockets: Sequence[Pair],
    work: Callable[[Callable[[], None]], Coroutine[Any, Any, None]],
) -> None:
    """Serve on `sockets` until SIGTERM or SIGINT, or until `work` ends.

    `work` is given a call that starts the answers: until then questions wait. Raises what `work` raises.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    tasks: list[asyncio.Task[Any]] = []

    def start() -> None:
        for pair in sockets:
            counts = server.counts["udp", pair.version]
            loop.add_reader(pair.datagrams, server.datagrams, Datagrams(pair.datagrams), counts)
            tasks.append(loop.create_task(_accept(server, pair)))

    tasks += [loop.create_task(work(start)), loop.create_task(stopped.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pair in sockets:
            loop.remove_reader(pair.datagrams)
        for task in tasks:
            task.cancel()
        server.close()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, asyncio.Server):
            outcome.close()
        if isinstance(outcome, Exception):
            raise outcome


async def _accept(server: Server, pair: Pair) -> asyncio.Server:
    """Take connections, not too many in a row; the others wait."""
    loop = asyncio.get_running_loop()
    maker = server.connections.maker(pair.version)
    listener = await loop.create_server(maker, sock=pair.stream, backlog=_ACCEPTED)
    pair.stream.listen(_WAITING)
    return listener


class Pair(NamedTuple):
    """The sockets of one address; `version` of IP."""

    datagrams: socket.socket
    stream: socket.socket
    version: int


def bound(listen: Sequence[tuple[str, int]]) -> list[Pair]:
    """Sockets for every (address, port), in the current network namespace. Raises KernelError."""
    found: list[Pair] = []
    for address, port in listen:
        try:
            pair = _bound(address, port, socket.SOCK_DGRAM), _bound(address, port, socket.SOCK_STREAM)
        except OSError as error:
            raise KernelError(f"can't listen on {address} port {port}: {error.strerror or error}") from None
        found.append(Pair(*pair, 6 if ":" in address else 4))
    return found


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
        sock.bind((address, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(_WAITING)
    except BaseException:
        sock.close()
        raise
    return sock
