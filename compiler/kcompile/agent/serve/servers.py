"""The agent's HTTP servers: health, metrics, and status over a unix socket.

Sockets of the first two are made in the node's network namespace, by the kernel thread. A port that is taken
is tried again: the agent's work doesn't depend on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import msgspec

from ...errors import InputError, KcompileError
from ...kernel.responder import listen
from ...modes import mode_of
from ..record import Programmed, Record
from . import health
from .metrics import Metrics
from .status import SOCKET, programmed_services, status_of
from .unix import listen_at

if TYPE_CHECKING:
    from aiohttp.web import Application, Request, StreamResponse

__all__ = ["Addresses", "InNode", "Servers"]

T = TypeVar("T")

_RETRY_SECONDS = 5.0  # kube-proxy's
_SERVER = {"Server": "kcompile"}


class InNode(Protocol):
    """Runs a call in the kernel thread, and so in the node's network namespace."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """The result of `call`, or what it raises."""


class Addresses(NamedTuple):
    """Where the servers listen, as ``IP:PORT`` or ``[IP]:PORT``; empty: not at all."""

    healthz: str = "0.0.0.0:10256"
    metrics: str = "127.0.0.1:10249"


class _Server(NamedTuple):
    """What one server has: where it is for messages, its socket's maker, and its pages."""

    where: str
    open: Callable[[], Awaitable[socket.socket]]
    app: Application


class Servers:
    """The servers of one agent.

    :param limit: seconds that a change may wait before the agent is unhealthy (kube-proxy's: twice the sync
        period)
    :raises InputError: for an address that isn't one
    """

    def __init__(
        self,
        record: Record,
        agent: Programmed,
        addresses: Addresses,
        *,
        limit: float,
        in_node: InNode,
        log: logging.Logger,
    ) -> None:
        self._record, self._agent, self._limit = record, agent, limit
        self._addresses = addresses
        self._places = {address: _parts(address) for address in addresses if address}
        self._in_node, self._log = in_node, log
        self._metrics = Metrics(record, agent)
        self.tried = asyncio.Event()  # every address was, and most are served

    async def run(self, directory: Path) -> None:
        """Serve until cancelled.

        :param directory: the namespace's run directory
        """
        waiting, warned = self._servers(directory), set()
        async with AsyncExitStack() as stack:
            while waiting:
                for server in list(waiting):
                    try:
                        await _start(server, stack)
                    except (OSError, KcompileError) as e:
                        if server.where not in warned:
                            self._log.warning("%s: %s; tried again", server.where, _reason(e))
                            warned.add(server.where)
                    else:
                        waiting.remove(server)
                self.tried.set()
                if waiting:
                    await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.Event().wait()

    def _servers(self, directory: Path) -> list[_Server]:
        async def open_status() -> socket.socket:
            return listen_at(directory)

        servers = [_Server(str(directory / SOCKET), open_status, self._status_app())]
        for address, app in (
            (self._addresses.healthz, self._health_app()),
            (self._addresses.metrics, self._metrics_app()),
        ):
            if address:
                servers.append(_Server(address, partial(self._open, *self._places[address]), app))
        return servers

    async def _open(self, ip: str, port: int) -> socket.socket:
        return await self._in_node(partial(listen, port, ip))

    def _health_app(self) -> Application:
        answers = {"healthz": health.healthz, "livez": health.livez, "readyz": health.readyz}

        def page(path: str) -> health.Answer:
            answer = answers[path](self._record, self._limit)
            self._metrics.answered(path, answer.status)
            return answer

        return _app({f"/{path}": _json(partial(page, path)) for path in answers})

    def _metrics_app(self) -> Application:
        return _app({"/metrics": self._scrape, "/proxyMode": self._proxy_mode})

    def _status_app(self) -> Application:
        def status() -> health.Answer:
            return _encoded(status_of(self._record, self._agent, self._limit))

        def programmed() -> health.Answer:
            return _encoded(programmed_services(self._record, self._agent))

        return _app({"/status": _json(status), "/debug/programmed": _json(programmed)})

    async def _scrape(self, _: Request) -> StreamResponse:
        from aiohttp import web
        from prometheus_client import CONTENT_TYPE_LATEST

        headers = {**_SERVER, "Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.text(), headers=headers)

    async def _proxy_mode(self, _: Request) -> StreamResponse:
        from aiohttp import web

        mode = self._agent.mode
        return web.Response(text=mode_of(mode).family if mode else "", headers=_SERVER)


_Handler = Callable[["Request"], Awaitable["StreamResponse"]]


def _app(pages: dict[str, _Handler]) -> Application:
    from aiohttp import web

    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in pages.items()])
    return app


def _json(page: Callable[[], health.Answer]) -> _Handler:
    async def handler(_: Request) -> StreamResponse:
        from aiohttp import web

        answer = page()
        headers = {**_SERVER, "X-Content-Type-Options": "nosniff"}
        return web.Response(
            text=answer.body, status=answer.status, content_type="application/json", headers=headers
        )

    return handler


def _encoded(value: msgspec.Struct) -> health.Answer:
    return health.Answer(200, msgspec.json.encode(value).decode())


async def _start(server: _Server, stack: AsyncExitStack) -> None:
    """Open and serve `server` until `stack` ends."""
    from aiohttp import web

    listener = await server.open()
    runner = web.AppRunner(server.app, handle_signals=False, access_log=None, shutdown_timeout=0.1)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.SockSite(runner, listener).start()


def _parts(address: str) -> tuple[str, int]:
    """The IP and the port of ``IP:PORT`` or ``[IP]:PORT``; port 0 is one of the kernel's choice. Raises
    InputError.
    """
    ip, _, port = address.rpartition(":")
    ip = ip.removeprefix("[").removesuffix("]")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(ip)
        if port.isdecimal() and int(port) < 1 << 16:
            return ip, int(port)
    raise InputError(f"{address}: not IP:PORT")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
