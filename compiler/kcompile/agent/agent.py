"""One node's agent: a source, its state, the kernel thread that programs the node from it, and servers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__
from .kernel import KernelThread
from .options import Options
from .record import ProgrammedService, Record
from .serve import HealthCheckPorts, Servers
from .serve.health import keeps_up
from .source import Source
from .state import State

__all__ = ["Agent", "source_of"]

T = TypeVar("T")

_SERVES_LATEST = 2.0  # seconds: then the servers wait no longer for the first rules


class Agent:
    """Programs the node that `options` name from `source`. Several may run in one process.

    :param log: where it says what it does
    """

    def __init__(
        self,
        options: Options,
        source: Source,
        log: logging.Logger,
        record: Record | None = None,
    ) -> None:
        self.options, self.source = options, source
        self.record = Record() if record is None else record
        self._log = log
        self._kernel: KernelThread | None = None
        self._servers: Servers | None = None

    async def run(self) -> None:
        """Until cancelled; the rules stay then.

        :raises KcompileError: for what no retry can change: a configuration or a source that can't be read, a
            mode that this node lacks, a node that another agent holds
        """
        servers = self._servers = self._new_servers()
        self._log.info("kcompile %s follows %s", __version__, self.source.follows)
        loop = asyncio.get_running_loop()
        entered: asyncio.Future[Path] = loop.create_future()
        ended: asyncio.Future[BaseException | None] = loop.create_future()

        def enter(directory: Path) -> None:
            _call(loop, entered.set_result, directory)

        def end(error: BaseException | None) -> None:
            _call(loop, ended.set_result, error)

        synced = asyncio.Event()
        self.record.listen(lambda _: None if synced.is_set() else _call(loop, synced.set))
        state = State(self.source.kinds, self.record, self._wake, self._log, self.options.own_name())
        checks = HealthCheckPorts(loop, self._keeps_up)
        kernel = KernelThread(self.options, state, self.record, self._log, checks, entered=enter, ended=end)
        self._kernel = kernel
        kernel.start()
        try:
            await _first_failure(ended, self.source.run(state), _serve(servers, entered, synced))
        finally:
            kernel.stop()
            try:
                error = await asyncio.shield(ended)
            finally:
                checks.close()
            if error is None:
                self._log.info("ended; the rules stay")
        if error is not None:
            raise error

    async def in_node(self, call: Callable[[], T], /) -> T:
        """The result of `call` in the kernel thread, and so in the node's network namespace."""
        assert self._kernel is not None
        return await asyncio.wrap_future(self._kernel.call(call))

    async def look(self) -> None:
        """Look at the node's interfaces and addresses now, and write what they change.

        Raises KernelError after the end.
        """
        assert self._kernel is not None
        await asyncio.wrap_future(self._kernel.look())

    async def reload(self) -> None:
        """Read the configuration again; a bad one is a line of the log. Raises KernelError after the end."""
        assert self._kernel is not None
        await asyncio.wrap_future(self._kernel.reload())

    async def serving(self) -> None:
        """Wait until the servers, if any are wanted, have tried every address."""
        if self._servers is not None:
            await self._servers.tried.wait()

    def _wake(self) -> None:
        if self._kernel is not None:
            self._kernel.wake()

    def _keeps_up(self) -> bool:
        return keeps_up(self.record, self.options.limit)

    def _new_servers(self) -> Servers | None:
        """The HTTP servers, if any are wanted. Raises InputError."""
        if not self.options.serves:
            return None
        return Servers(
            self.record,
            self,
            self.options.addresses(),
            limit=self.options.limit,
            in_node=self.in_node,
            log=self._log,
        )

    # ---- what servers ask (record.Programmed)

    @property
    def mode(self) -> str:
        """The mode's name; empty before it is settled."""
        programmer = self._kernel.programmer if self._kernel is not None else None
        return programmer.node.mode.name if programmer is not None else ""

    def programmed(self) -> list[ProgrammedService]:
        """See `Programmed`."""
        programmer = self._kernel.programmer if self._kernel is not None else None
        return [] if programmer is None else programmer.programmed()

    def resources(self) -> int:
        """See `Programmed`."""
        programmer = self._kernel.programmer if self._kernel is not None else None
        return 0 if programmer is None else programmer.resources()


def _call(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    """Make `call` in `loop`'s thread, unless nobody waits any more."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: a second signal came
        loop.call_soon_threadsafe(call, *arguments)


async def _serve(servers: Servers | None, entered: asyncio.Future[Path], synced: asyncio.Event) -> None:
    """Answer over HTTP, once the kernel thread is in the node, and the first rules are in or late: what is
    imported for it takes 0.3 s of a CPU, which the rules would wait for.
    """
    directory = await asyncio.shield(entered)
    if servers is not None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(synced.wait(), _SERVES_LATEST)
        await servers.run(directory)


async def _first_failure(ended: asyncio.Future[Any], *parts: Coroutine[Any, Any, None]) -> None:
    """Run `parts` until one fails, or `ended` is set; then cancel them. Raises what the part raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        waiting: set[asyncio.Future[Any]] = {ended, *tasks}
        while ended in waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done - {ended}:
                each.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):  # the first one is told
                await task


def source_of(options: Options, log: logging.Logger) -> Source:
    """The source that `options` ask for: manifests, or an API server. Warnings go to `log`.

    :raises InputError: for a kubeconfig that can't be
    """
    if options.request.reads:
        from .directory import DirectorySource

        return DirectorySource(options.request, options.config, log)
    from .api.connection import connect
    from .api.server import ApiSource

    name = options.own_name()
    assert name is not None
    return ApiSource(connect(options.kubeconfig, options.context), name)
