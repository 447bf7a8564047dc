"""The pods' network namespaces and addresses. Many pods that start at once share the runs of ip(8)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import chain
from typing import Generic, TypeVar

from ...errors import KernelError
from ...kernel.netns import NETNS_DIR
from .. import netns, network
from ..settings import LabSettings, NodeSettings

__all__ = ["Addresses", "Sandbox", "Sandboxes", "Wired"]

Wired = Callable[[str, str], Awaitable[None]]
"""Called with a node and the name of a new link on it, before the pod's first container starts."""

_FIRST_HOST = 2


class Addresses:
    """The pods' addresses of one node: round-robin over its pod CIDRs, so that a freed one is reused late."""

    def __init__(self, cidrs: Sequence[str]) -> None:
        self._networks = [ip_network(cidr) for cidr in cidrs]
        self._room = min(network.num_addresses - 1 for network in self._networks)
        self._next = _FIRST_HOST
        self._used: set[int] = set()

    def take(self) -> tuple[int, list[str]]:
        """A host number, and its address of each family. Raises KernelError where all are used."""
        for _ in range(self._room):
            number = self._next
            self._next = number + 1 if number + 1 < self._room else _FIRST_HOST
            if number not in self._used:
                self._used.add(number)
                return number, [str(each[number]) for each in self._networks]
        raise KernelError("no addresses available in the node's pod CIDR")

    def give_back(self, number: int) -> None:
        self._used.discard(number)


@dataclass(frozen=True)
class Sandbox:
    """A pod's network namespace; `number` is its address's, 0 and no `link` for one with the node's."""

    netns: str
    ips: tuple[str, ...]
    number: int = 0
    link: str = ""


_Item = TypeVar("_Item")


class _Batched(Generic[_Item]):
    """Runs `work` in a thread with all items that have come together meanwhile."""

    def __init__(self, work: Callable[[Sequence[_Item]], None]) -> None:
        self._work = work
        self._items: list[tuple[_Item, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def do(self, item: _Item) -> None:
        """Return when `work` has been done with the item. Raises what it raised."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._items.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await asyncio.shield(future)

    async def _run(self) -> None:
        while self._items:
            await asyncio.sleep(0)  # the others of the same moment
            items, self._items = self._items, []
            error: Exception | None = None
            try:
                await asyncio.to_thread(self._work, [item for item, _ in items])
            except Exception as problem:  # whoever waits has to hear it
                error = problem
            for _, future in items:
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
                    future.exception()  # whoever waited may have been cancelled


class Sandboxes:
    """Makes and removes the sandboxes of a lab."""

    def __init__(self, settings: LabSettings, wired: Wired) -> None:
        self._settings, self._wired = settings, wired
        self._addresses = {node.name: Addresses(node.pod_cidrs) for node in settings.nodes}
        self._links = 0
        self._made = _Batched(self._make)
        self._removed = _Batched(netns.remove)

    async def make(self, node: NodeSettings, namespace: str, pod: str, *, host: bool) -> Sandbox:
        """The sandbox of a new pod. Raises KernelError."""
        lab = self._settings.name
        if host:
            return Sandbox(netns.netns_name(lab, "node", node.name), tuple(node.ips))
        number, ips = self._addresses[node.name].take()
        self._links += 1
        name = netns.netns_name(lab, "pod", namespace, pod)
        sandbox = Sandbox(name, tuple(ips), number, f"pod{self._links}")
        try:
            await self._made.do((node, sandbox))
            await self._wired(node.name, sandbox.link)
        except BaseException:
            await self.remove(node, sandbox)
            raise
        return sandbox

    async def remove(self, node: NodeSettings, sandbox: Sandbox) -> None:
        """Remove it, with whatever still runs in it."""
        if sandbox.link:
            await self._removed.do(sandbox.netns)
            self._addresses[node.name].give_back(sandbox.number)

    def _make(self, orders: Sequence[tuple[NodeSettings, Sandbox]]) -> None:
        """In a thread: the namespaces, and their links to the nodes."""
        left = [sandbox.netns for _, sandbox in orders if (NETNS_DIR / sandbox.netns).exists()]
        netns.remove(left)
        netns.add([sandbox.netns for _, sandbox in orders])
        routes = self._settings.network == "routes"
        for node in {node.name: node for node, _ in orders}.values():
            own = [sandbox for each, sandbox in orders if each is node]
            for sandbox in own:
                netns.tune(sandbox.netns, {})
            lines = (network.pod_node_lines(each.link, each.ips, node, each.netns, routes) for each in own)
            netns.batch(chain.from_iterable(lines), netns.netns_name(self._settings.name, "node", node.name))
            for sandbox in own:
                netns.batch(network.pod_lines(sandbox.ips), sandbox.netns)
