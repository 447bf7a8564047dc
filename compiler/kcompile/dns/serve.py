"""A name server for the records: UDP and TCP on every address of `listen`, until SIGTERM.

It checks the source when a question comes, at most twenty times a second: an idle server does nothing, and no
answer is older than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import InputError, KernelError
from .records import Records
from .wire import Answerer
from .zones import Zones

__all__ = ["Server", "Source", "serve"]

_LOOK_AGAIN = 0.05  # seconds
_BURST = 64  # datagrams in a row, before TCP gets its turn
_IDLE = 10.0  # seconds until a silent TCP connection is closed
_CONNECTIONS = 256


class Source(Protocol):
    """The origin of the records."""

    def signature(self) -> object:
        """A cheap value that changes when `load` would return something else."""

    def load(self) -> Records:
        """The records. Raises InputError or OSError."""


class Server:
    """Answers from `source`; while that is broken, from its last good state, after one call of `complain`
    with the reason.
    """

    def __init__(self, source: Source, complain: Callable[[str], None]) -> None:
        self._source, self._complain = source, complain
        self._signature = source.signature()
        self._answerer = Answerer(Zones(source.load()))
        self._looked = time.monotonic()
        self._connections = 0

    @property
    def records(self) -> Records:
        """The records served now."""
        return self._answerer.zones.records

    def answer(self, message: bytes, *, tcp: bool = False) -> bytes | None:
        """The reply to one message; None where it gets none."""
        now = time.monotonic()
        if now - self._looked > _LOOK_AGAIN:
            self._looked = now
            self._follow()
        return self._answerer.answer(message, tcp=tcp)

    def _follow(self) -> None:
        signature = self._source.signature()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._answerer = Answerer(Zones(self._source.load()))
        except (InputError, OSError) as error:
            self._complain(f"still serving what was there before: {error}")

    def datagrams(self, sock: socket.socket) -> None:
        """Answer the datagrams that wait on `sock`."""
        for _ in range(_BURST):
            try:
                message, client = sock.recvfrom(4096)
            except (BlockingIOError, ConnectionError):
                return
            if (answer := self.answer(message)) is not None:
                with contextlib.suppress(
                    OSError
                ):  # the client is gone, or the buffer full: it will ask again
                    sock.sendto(answer, client)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one TCP connection, question by question (RFC 7766)."""
        self._connections += 1
        try:
            while self._connections <= _CONNECTIONS:
                length = int.from_bytes(await asyncio.wait_for(reader.readexactly(2), _IDLE))
                answer = self.answer(await asyncio.wait_for(reader.readexactly(length), _IDLE), tcp=True)
                if answer is None:
                    break
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            pass
        finally:
            self._connections -= 1
            writer.close()


async def serve(server: Server, listen: Sequence[tuple[str, int]], ready: Callable[[], None]) -> None:
    """Serve on every (address, port) of `listen`, until SIGTERM or SIGINT. Raises KernelError where one can't
    be bound.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        for address, port in listen:
            try:
                datagrams = stack.enter_context(_bound(address, port, socket.SOCK_DGRAM))
                stream = stack.enter_context(_bound(address, port, socket.SOCK_STREAM))
            except OSError as error:
                raise KernelError(
                    f"can't listen on {address} port {port}: {error.strerror or error}"
                ) from None
            loop.add_reader(datagrams, server.datagrams, datagrams)
            stack.callback(loop.remove_reader, datagrams)
            await stack.enter_async_context(await asyncio.start_server(server.stream, sock=stream))
        ready()
        await stopped.wait()


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock
