"""The agents of a lab's nodes, all in one process, each with its kernel thread in its node's namespace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from pathlib import Path
from typing import TextIO

import msgspec

from ..agent.agent import Agent
from ..agent.log import agent_log
from ..agent.options import Options
from ..agent.record import Record
from ..engine.request import Request, configuration
from ..errors import KcompileError, KernelError
from ..files import write_whole
from ..modes import MODES
from ..spec.config import Config
from . import bpffs, netns
from .feed import Feed, NodeSource
from .settings import LabSettings, NodeSettings

__all__ = ["NO_MODE", "Agents", "node_configuration"]

NO_MODE = "none"
"""The mode of nodes without an agent, for a proxy of the user's own."""

_AGAIN = 2.0  # seconds until an agent that ended is started again, as systemd would
_CHANGE = 60.0  # seconds for the rules of another mode
_DEFAULT = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "detectLocalMode": "NodeCIDR",
}


class Agents:
    """`directory`: the lab's folder; `log`: what the agents say, each line with its node."""

    def __init__(self, settings: LabSettings, feed: Feed, directory: Path, log: TextIO) -> None:
        self._directory, self.mode = directory, settings.mode
        config = node_configuration(settings, directory)
        self._nodes = {
            node.name: _NodeAgent(settings, node, config, feed, agent_log(log, prefix=f"{node.name}: "))
            for node in settings.nodes
        }
        self._changing = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled; the rules stay then."""
        if self.mode != NO_MODE:
            self._prepare(self.mode)
            for node in self._nodes.values():
                node.start(self.mode)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.gather(*[node.stop() for node in self._nodes.values()])

    def waiting(self) -> list[str]:
        """The nodes whose rules aren't up to date, each with the reason where there is an error."""
        if self.mode == NO_MODE:
            return []
        return [node.title for node in self._nodes.values() if not node.settled]

    def modes(self) -> dict[str, str]:
        """The mode of each node now."""
        return {name: node.mode for name, node in self._nodes.items()}

    async def change_mode(self, mode: str) -> None:
        """Give the nodes rules of `mode`, one after the other.

        :raises KernelError: naming the first node where that fails; all nodes have the old mode then
        """
        async with self._changing:
            before = self.mode
            if NO_MODE in (mode, before):
                raise KernelError("a lab whose nodes have no agent (--mode none) stays so: make another one")
            self._prepare(mode)
            try:
                for node in self._nodes.values():
                    await node.change_mode(mode)
            except KernelError:
                for node in self._nodes.values():
                    if node.mode != before:
                        with contextlib.suppress(KernelError):
                            await node.change_mode(before)
                raise
            self.mode = mode

    async def wired(self, node: str, link: str) -> None:  # noqa: ARG002 -- the kubelet says which
        """Wait until the rules of `node` know a pod's new interface, where its mode has programs on it."""
        if self.mode != NO_MODE and MODES[self._nodes[node].mode].sees_interfaces:
            await self._nodes[node].look()

    def _prepare(self, mode: str) -> None:
        if MODES[mode].sees_interfaces:
            bpffs.mount(self._directory)


class _NodeAgent:
    """One node's agent, started again when it ends."""

    def __init__(
        self, settings: LabSettings, node: NodeSettings, config: Config, feed: Feed, log: logging.Logger
    ) -> None:
        self._settings, self._node, self._config, self._feed, self._log = settings, node, config, feed, log
        self.mode, self._error = settings.mode, ""
        self._record = Record()
        self._agent: Agent | None = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    @property
    def settled(self) -> bool:
        """Whether the kernel has the rules of everything that the agent was told."""
        record = self._record
        return record.last_sync is not None and record.pending_seconds is None and not self._error

    @property
    def title(self) -> str:
        failure = self._record.failure
        reason = self._error or (failure.error if failure is not None else "")
        return f"{self._node.name}{f' ({reason})' if reason else ''}"

    def start(self, mode: str) -> None:
        """Begin with an agent of `mode`."""
        self.mode, self._error = mode, ""
        self._record = Record()
        loop = asyncio.get_running_loop()
        self._moved.clear()
        self._record.listen(lambda _: _call(loop, self._moved))
        self._task = asyncio.ensure_future(self._keep())

    async def stop(self) -> None:
        """End it; the rules stay."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def change_mode(self, mode: str) -> None:
        """Wait until the node has rules of `mode`. Raises KernelError where it can't have them."""
        await self.stop()
        self.start(mode)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), _CHANGE)
        if self._error or self._record.last_sync is None:
            failure = self._record.failure
            reason = self._error or (failure.error if failure is not None else "no rules yet")
            raise KernelError(f"{self._node.name}: {reason}")

    async def look(self) -> None:
        """Let it look at its interfaces now; where it has ended, the next one will."""
        if self._agent is not None and self._record.last_sync is not None:
            with contextlib.suppress(KernelError):
                await self._agent.look()

    async def _keep(self) -> None:
        while True:
            source = NodeSource(self._feed, self._node.name)
            self._agent = Agent(self._options(), source, self._log, self._record)
            try:
                await self._agent.run()
            except KcompileError as error:
                self._error = str(error)
                self._log.error("%s", error)
                self._moved.set()
            await asyncio.sleep(_AGAIN)
            self._error = ""

    def _options(self) -> Options:
        settings = self._settings
        low, high = settings.node_port_range
        request = Request(
            mode=self.mode,
            # a cgroup is no namespace: hooks on sockets would be those of the whole machine
            socket_lb="off" if MODES[self.mode].sees_interfaces else None,
            node=self._node.name,
            netns=netns.netns_name(settings.name, "node", self._node.name),
            service_cidrs=",".join(settings.service_cidrs),
            node_port_range=f"{low}-{high}",
        )
        config = msgspec.structs.replace(self._config, mode=self.mode)
        return Options(request=request, config=config, serves=True)


def node_configuration(settings: LabSettings, directory: Path) -> Config:
    """The configuration of every node: the user's, else one in which the node's pod CIDR is local.

    Raises ConfigError.
    """
    path = directory / "config.yaml"
    write_whole(path, (settings.config or json.dumps(_DEFAULT)).encode(), private=True)
    low, high = settings.node_port_range
    return configuration(
        Request(
            config=str(path),
            service_cidrs=",".join(settings.service_cidrs),
            node_port_range=f"{low}-{high}",
            domain=settings.domain,
        )
    )


def _call(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set `event`, from the kernel thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(event.set)
