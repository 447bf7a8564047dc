"""The time in which a container runs: postStart hook, and its startup, readiness and liveness probes.

pkg/kubelet/prober/worker.go: the other two begin once the startup probe has succeeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING

from .probes import Probe, Streak
from .probing import act
from .runtime import Process

if TYPE_CHECKING:
    from .container import ContainerWorker

__all__ = ["Life"]

_HOOK_LIMIT = 120.0  # seconds


class Life:
    """Of one start of `container`, as `process`."""

    def __init__(self, container: ContainerWorker, process: Process, agent: str) -> None:
        self._container, self._process, self._agent = container, process, agent
        self._tasks: set[asyncio.Task[None]] = set()

    async def post_start(self) -> bool:
        """Run the postStart hook, if there is one; False if it fails, so that the container must end."""
        hook = (self._container.spec.get("lifecycle") or {}).get("postStart")
        if not hook:
            return True
        container = self._container
        result = await act(hook, container.target(), _HOOK_LIMIT, self._agent)
        if not result.good:
            text = f"PostStartHook failed: {result.message}"
            container.pod.event("Warning", "FailedPostStartHook", text)
        return result.good

    def begin(self) -> None:
        """The container runs: it is ready, or its probes begin."""
        state, spec = self._container.state, self._container.spec
        state.started = not spec.get("startupProbe")
        state.ready = state.started and not spec.get("readinessProbe")
        if state.started:
            self._begin_others()
        else:
            self._start(self._startup(Probe.read(spec["startupProbe"])))

    async def end(self) -> None:
        """The container has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin_others(self) -> None:
        spec = self._container.spec
        self._container.begun.set()
        if data := spec.get("readinessProbe"):
            self._start(self._readiness(Probe.read(data)))
        if data := spec.get("livenessProbe"):
            self._start(self._liveness(Probe.read(data)))

    async def _startup(self, probe: Probe) -> None:
        state = self._container.state
        async for good in self._verdicts(probe, "Startup"):
            if not good:
                await self._fail("startup", probe)
                return
            state.started, state.ready = True, not self._container.spec.get("readinessProbe")
            self._begin_others()
            self._container.pod.publish()
            return

    async def _liveness(self, probe: Probe) -> None:
        async for good in self._verdicts(probe, "Liveness"):
            if not good:
                await self._fail("liveness", probe)
                return

    async def _readiness(self, probe: Probe) -> None:
        async for good in self._verdicts(probe, "Readiness"):
            if self._container.state.ready is not good:
                self._container.state.ready = good
                self._container.pod.publish()

    async def _fail(self, kind: str, probe: Probe) -> None:
        # in a task of its own: this one is cancelled when the process has ended, and so its hook would be
        if not self._container.stopping.is_set():
            why = f"failed {kind} probe, will be restarted"
            await asyncio.shield(asyncio.create_task(self._container.end_for(why, probe.grace)))

    async def _verdicts(self, probe: Probe, kind: str) -> AsyncIterator[bool]:
        """Probe for ever; yields each result that a threshold is reached with."""
        streak, loop = Streak(probe), asyncio.get_running_loop()
        await asyncio.sleep(probe.initial_delay)
        while True:
            began = loop.time()
            result = await act(probe.action, self._container.target(), probe.timeout, self._agent)
            if not result.good:
                text = f"{kind} probe failed: {result.message}"
                self._container.pod.event("Warning", "Unhealthy", text)
            if streak.add(result.good):
                yield result.good
            await asyncio.sleep(max(began + probe.period - loop.time(), 0.0))
