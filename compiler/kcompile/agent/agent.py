"""One node's agent: a source, its state, and the kernel thread that programs the node from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from ..errors import KcompileError
from .kernel import KernelThread
from .options import Options
from .record import ProgrammedService, Record
from .source import Source
from .state import State

__all__ = ["Agent", "source_of"]


class Agent:
    """Programs the node that `options` name from `source`. Several may run in one process.

    :param log: where it says what it does
    """

    def __init__(
        self,
        options: Options,
        source: Source,
        record: Record | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.options, self.source = options, source
        self.record = Record() if record is None else record
        self._log = logging.getLogger("kcompile.agent") if log is None else log
        self._kernel: KernelThread | None = None

    async def run(self) -> None:
        """Until cancelled; the rules stay then.

        :raises KcompileError: for what no retry can change: a configuration or a source that can't be read, a
            mode that this node lacks, a node that another agent holds
        """
        loop = asyncio.get_running_loop()
        entered: asyncio.Future[Path] = loop.create_future()
        ended: asyncio.Future[BaseException | None] = loop.create_future()

        def enter(directory: Path) -> None:
            loop.call_soon_threadsafe(entered.set_result, directory)

        def end(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(ended.set_result, error)

        state = State(self.source.kinds, self.record, self.wake, self.options.request.node)
        self._kernel = KernelThread(self.options, state, self.record, self._log, entered=enter, ended=end)
        self._kernel.start()
        feeding = asyncio.ensure_future(self.source.run(state))
        try:
            await asyncio.wait((ended, feeding), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and feeding.exception() is None:
                await asyncio.shield(ended)  # all has been given
        finally:
            feeding.cancel()
            self._kernel.stop()
            await asyncio.shield(ended)
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
        if error := ended.result():
            raise error

    def wake(self) -> None:
        """The state has changed."""
        if self._kernel is not None:
            self._kernel.wake()

    def reload(self) -> None:
        """Read the configuration again."""
        if self._kernel is not None:
            self._kernel.reload()

    # ---- what servers ask (record.Programmed)

    @property
    def mode(self) -> str:
        """The mode's name; empty before it is settled."""
        programmer = self._kernel.programmer if self._kernel is not None else None
        return programmer.mode.name if programmer is not None else ""

    def programmed(self) -> list[ProgrammedService]:
        """See `Programmed`."""
        programmer = self._kernel.programmer if self._kernel is not None else None
        return [] if programmer is None else programmer.programmed()

    def resources(self) -> int:
        """See `Programmed`."""
        programmer = self._kernel.programmer if self._kernel is not None else None
        return 0 if programmer is None else programmer.resources()


def source_of(options: Options) -> Source:
    """The source that `options` ask for: a directory, or an API server.

    :raises KcompileError: where it can't be had
    """
    if options.request.reads:
        from .directory import DirectorySource

        return DirectorySource(options.request)
    raise KcompileError("run without -f: an API server can't be followed yet")
