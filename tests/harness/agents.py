"""An agent in this process, in a namespace, fed by the test."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import pytest

from kcompile.agent.agent import Agent
from kcompile.agent.options import Options
from kcompile.agent.record import Record
from kcompile.agent.source import Kind, Sink
from kcompile.engine.request import Request, configuration
from kcompile.spec.objects import EndpointSlice, Namespace, Node, Object, Service, ServiceCIDR

__all__ = ["Running", "Told"]

_KINDS: dict[type[Object], Kind] = {
    Service: "Service",
    EndpointSlice: "EndpointSlice",
    Node: "Node",
    ServiceCIDR: "ServiceCIDR",
    Namespace: "Namespace",
}
_PATIENCE = 20.0


class Told:
    """A source whose objects the test gives."""

    kinds: tuple[Kind, ...] = ("Node", "ServiceCIDR", "Service", "EndpointSlice")
    follows = "a test"

    def __init__(self, objects: Iterable[Object]) -> None:
        self._first = list(objects)
        self.sink: Sink | None = None

    async def run(self, sink: Sink) -> None:
        for kind in self.kinds:
            sink.listed(kind, [item for item in self._first if _KINDS[type(item)] == kind])
        self.sink = sink
        await asyncio.Event().wait()


class Running(contextlib.AbstractContextManager["Running"]):
    """The agent of namespace `name` from its first sync to its end.

    :param folder: for its files; an agent after it finds them there
    :param options: of the Request
    """

    def __init__(
        self,
        name: str,
        mode: str,
        folder: Path,
        objects: Iterable[Object],
        *,
        sync_period: float = 30.0,
        serves: bool = False,
        **options: Any,
    ) -> None:
        self.source, self.record = Told(objects), Record()
        self._folder = folder
        request = Request(netns=name, mode=mode, **{"node": "node-a", **options})
        self.log = logging.Logger("agent")
        self.lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self.log.addHandler(handler)
        options_ = Options(
            request=request, config=configuration(request), sync_period=sync_period, serves=serves
        )
        self.agent = Agent(options_, self.source, self.log, self.record)
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self._patch = pytest.MonkeyPatch()
        self._patch.setenv("KCOMPILE_RUN_DIR", str(self._folder / "run"))
        self._patch.setenv("KCOMPILE_STATE_DIR", str(self._folder / "state"))
        self.record.listen(lambda _: self._notify())
        self._thread.start()
        try:
            self.settled()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self._patch.undo()

    def put(self, *items: Object) -> None:
        """Give these, and wait until the kernel has them."""
        for item in items:
            self._sink.put(_KINDS[type(item)], item)
        self.settled()

    def gone(self, *items: Object) -> None:
        """Take these away, and wait until the kernel has that."""
        for item in items:
            self._sink.gone(_KINDS[type(item)], item.metadata.namespace, item.metadata.name)
        self.settled()

    def settled(self) -> None:
        """Wait for a sync, until everything that was given is in the kernel."""
        self.wait(lambda: self.record.last_sync is not None and self.record.pending_seconds is None)

    def reload(self) -> None:
        """Let it read its configuration again."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.agent.reload(), self._loop).result(_PATIENCE)

    def wait(self, happens: Callable[[], object]) -> None:
        """Wait until `happens`, which is asked after each sync and now and then."""
        with self._changed:
            for _ in range(int(_PATIENCE / 0.02)):
                if self._thread.ident is not None and not self._thread.is_alive():
                    break
                if happens():
                    return
                self._changed.wait(0.02)
        if self.error is not None:
            raise self.error
        raise TimeoutError(f"nothing happens; the agent says: {self.lines}")

    @property
    def _sink(self) -> Sink:
        assert self.source.sink is not None
        return self.source.sink

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            await self.agent.run()

        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(main())
        except BaseException as error:
            self.error = error
        self._notify()
