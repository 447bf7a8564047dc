"""The agent's HTTP servers: health, metrics, and status over a unix socket.

Sockets of the first two are made in the node's network namespace, by the kernel thread. A port that is taken
is tried again: the agent's work doesn't depend on it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import msgspec

from ...errors import KcompileError
from ...kernel.responder import listen
from ...modes import mode_of
from ..record import Programmed, Record
from . import health
from .metrics import Metrics
from .pages import SERVER, app_of, ip_and_port, json_page, serve_app
from .status import SOCKET, programmed_services, status_of
from .unix import listen_at

if TYPE_CHECKING:
    from aiohttp.web import Application, Request, StreamResponse

__all__ = ["Addresses", "InNode", "Servers"]

T = TypeVar("T")

_RETRY_SECONDS = 5.0  # kube-proxy's


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
        self._places = {address: ip_and_port(address) for address in addresses if address}
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
                        await serve_app(server.app, await server.open(), stack)
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

        return app_of({f"/{path}": json_page(partial(page, path)) for path in answers})

    def _metrics_app(self) -> Application:
        return app_of({"/metrics": self._scrape, "/proxyMode": self._proxy_mode})

    def _status_app(self) -> Application:
        def status() -> health.Answer:
            return _encoded(status_of(self._record, self._agent, self._limit))

        def programmed() -> health.Answer:
            return _encoded(programmed_services(self._record, self._agent))

        return app_of({"/status": json_page(status), "/debug/programmed": json_page(programmed)})

    async def _scrape(self, _: Request) -> StreamResponse:
        from aiohttp import web
        from prometheus_client import CONTENT_TYPE_LATEST

        headers = {**SERVER, "Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._metrics.text(), headers=headers)

    async def _proxy_mode(self, _: Request) -> StreamResponse:
        from aiohttp import web

        mode = self._agent.mode
        return web.Response(text=mode_of(mode).family if mode else "", headers=SERVER)


def _encoded(value: msgspec.Struct) -> health.Answer:
    return health.Answer(200, msgspec.json.encode(value).decode())


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
