"""The parts of a lab in one event loop: network, API server, agents, controllers, kubelets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Awaitable, Coroutine, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

from ..agent.log import agent_log
from ..agent.serve.unix import listen_at
from ..apiserver import Store, serve
from .agents import Agents
from .client import Client
from .control import API_SOCKET, Control
from .controllers import Settings as ControllerSettings
from .controllers import run as run_controllers
from .credentials import Credentials, account, make, write_kubeconfigs
from .feed import Feed
from .kubelet import Kubelets
from .kubesystem import system_objects
from .outside import Outside
from .settings import API_PORT, LabSettings

__all__ = ["Lab"]


class Lab:
    """A lab that comes up on entering: then the API answers, and the nodes get their rules.

    :param listener: listens in the machine's namespace; the process is in the fabric's
    :param network: is done when the namespaces of nodes and client are there
    """

    def __init__(
        self, settings: LabSettings, directory: Path, listener: socket.socket, network: Awaitable[None]
    ) -> None:
        self._settings, self._directory, self._listener, self._network = (
            settings,
            directory,
            listener,
            network,
        )
        self._stack = contextlib.AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def run(self) -> None:
        """Until cancelled, or a part fails."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()

    async def _start(self) -> None:
        settings, directory = self._settings, self._directory
        addresses = ["127.0.0.1", *settings.api_addresses, *_first_addresses(settings)]
        made = await asyncio.to_thread(make, directory, addresses)
        await self._network
        self._write_kubeconfigs(made)
        store = Store(controllers=True, node_port_range=settings.node_port_range)
        client = Client(store)
        self._add_system_objects(store)
        log = agent_log(sys.stderr)
        agents = Agents(settings, Feed(client), directory, sys.stderr)
        kubelets = Kubelets(client, settings, directory, agents.wired)
        self._begin(agents.run(), "agents")
        self._begin(Outside(settings, client, log).run(), "routes from outside")
        self._begin(run_controllers(client, _for_controllers(settings, made)), "controllers")
        self._begin(kubelets.run(), "kubelets")
        sockets = [self._listener, *_in_fabric(settings), listen_at(directory, API_SOCKET)]
        tokens = [made.token, made.pod_token]
        api = serve(store, sockets=sockets, token=tokens, tls=made.tls, containers=kubelets)
        await self._stack.enter_async_context(api)
        control = Control(settings, client, agents, directory)
        await self._stack.enter_async_context(control.serve())

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    def _begin(self, part: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(part, name=name))

    def _write_kubeconfigs(self, made: Credentials) -> None:
        settings, port = self._settings, self._listener.getsockname()[1]
        inside = f"https://{settings.api_addresses[0]}:{API_PORT}"
        write_kubeconfigs(self._directory, settings.name, made, f"https://127.0.0.1:{port}", inside)

    def _add_system_objects(self, store: Store) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for obj in system_objects(self._settings, account(self._directory), now):
            store.create(obj)
            if "status" in obj:
                store.update_status(obj)


def _for_controllers(settings: LabSettings, made: Credentials) -> ControllerSettings:
    return ControllerSettings(
        load_balancer_pools=tuple(settings.load_balancer_cidrs),
        api_endpoints=tuple([(ip, API_PORT) for ip in settings.api_addresses]),
        ca_certificate=made.ca,
    )


def _first_addresses(settings: LabSettings) -> Iterator[str]:
    """The clusterIP of Service kubernetes: the first of each range."""
    yield from (str(ip_network(cidr)[1]) for cidr in settings.service_cidrs)


def _in_fabric(settings: LabSettings) -> Iterator[socket.socket]:
    """A listening socket on each of the API server's addresses, in the current namespace."""
    for ip in settings.api_addresses:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        yield socket.create_server((ip, API_PORT), family=family, backlog=128)
