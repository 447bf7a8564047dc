"""One container of a pod, from its first start to its last end: restarts, log, end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import KcompileError
from .backoff import Backoff
from .cgroups import Cgroups
from .environment import CreateError
from .life import Life
from .logs import Log, old_of
from .probing import Target, act
from .runtime import Process, StartError
from .specs import exec_spec, is_sidecar, ports
from .status import ContainerState, timestamp
from .streams import Executed, Output, Streams

if TYPE_CHECKING:
    from .pod import PodWorker

__all__ = ["ContainerWorker"]

_CREATE_AGAIN = 1.0  # seconds until a missing ConfigMap is looked for again
_LEAST_GRACE = 2.0  # seconds for a preStop hook (kuberuntime: minimumGracePeriodInSeconds)
_LONGEST_MESSAGE = 4096  # bytes of a termination message
_AGENT = "kube-probe/1.36"
_PULLS = (2.0, 30.0)  # seconds between two looks at an image that isn't there: the first, the longest
_NOT_STARTED = 128  # exit code of what a runtime can't start


class ContainerWorker:
    """`policy`: the restartPolicy that holds for this container.

    `runs`: between the begin and the end of `run`; `begun`: it has started, or won't any more.
    """

    def __init__(self, pod: PodWorker, spec: Mapping[str, Any], policy: str, *, init: bool = False) -> None:
        self.pod, self.spec, self.policy = pod, spec, policy
        self.name = str(spec["name"])
        self.state = ContainerState(self.name, spec.get("image") or "", is_sidecar(spec) or not init)
        self.process: Process | None = None
        self.output: Output | None = None
        self.request: dict[str, Any] = {}
        self.runs = False
        self.stopping = asyncio.Event()
        self.begun = asyncio.Event()
        self._over = asyncio.Event()
        self._backoff = Backoff()
        self._folder = pod.folder / "containers" / self.name

    def log_path(self, *, previous: bool = False) -> Path:
        """The log of its last start, or of the start before: which, while it waits, is the last one too."""
        waits = "waiting" in self.state.state and self.state.last
        return self._log_of(self.state.restarts - (previous and not waits))

    def _log_of(self, restarts: int) -> Path:
        return self._folder / f"{restarts}.log"

    async def run(self) -> None:
        """Start it, again and again as its policy has it, until it has ended for good or is to stop."""
        self.runs = True
        try:
            while not self.stopping.is_set():
                code, ran = await self._once()
                if code is None or self.stopping.is_set() or not self._again(code):
                    return
                await self._wait_to_restart(self._backoff.ended(ran))
                self.state.restarts += 1
        finally:
            self.runs = False
            self._over.set()
            self.begun.set()

    async def stop(self, deadline: float) -> None:
        """End it in order: preStop hook, its signal, and SIGKILL at `deadline` of the loop's clock."""
        self.stopping.set()
        process, loop = self.process, asyncio.get_running_loop()
        if process is not None and process.runs:
            self.pod.event("Normal", "Killing", f"Stopping container {self.name}")
            await self._end(process, deadline - loop.time())
        await self._over.wait()

    def kill(self) -> None:
        """End it at once."""
        self.stopping.set()
        if self.process is not None:
            self.process.signal(signal.SIGKILL)

    async def run_command(self, command: Sequence[str]) -> tuple[int, bytes]:
        """Run a command in the container: its exit status and what it wrote."""
        running = await self.exec(command, stdin=False, tty=False)
        found: list[bytes] = []
        try:
            async for _, data in running.output():
                found.append(data)
            return await running.wait(), b"".join(found)
        except BaseException:
            running.kill()
            raise

    async def exec(self, command: Sequence[str], *, stdin: bool, tty: bool) -> Executed:
        """Start a process in the container. Raises StartError."""
        assert self.process is not None
        streams = Streams(stdin=stdin, terminal=tty)
        request = exec_spec(self.request, command, tty=tty)
        try:
            process = await self.pod.runtime.exec(self.process, request, streams.child)
            await streams.started()
        except BaseException:
            streams.close()
            raise
        return Executed(process, streams, stdin=stdin)

    # --- one start ---

    async def _once(self) -> tuple[int | None, float]:
        """One start and its end: the exit code, None if it was stopped before; and seconds that it ran."""
        prepared = await self._prepared()
        if prepared is None:
            return None, 0.0
        self.request = prepared
        group = self.pod.group_of(self.spec)
        self.request["cgroup"] = str(group or "")
        began = time.time()
        streams = Streams(stdin=bool(self.spec.get("stdin")), terminal=self.request["tty"])
        self.output = Output(streams, self._new_log(), once=bool(self.spec.get("stdinOnce")))
        try:
            code = await self._run_in(streams, began)
            await self.output.ended()
        finally:
            self.output.close()
        out_of_memory = group is not None and Cgroups.ran_out_of_memory(group)
        if group:
            Cgroups.drop(group)
        if code is None:
            return _NOT_STARTED, 0.0
        self._ended(code, began, "OOMKilled" if out_of_memory else "")
        return code, time.time() - began

    async def _run_in(self, streams: Streams, began: float) -> int | None:
        """Start it and wait for its end; None if it can't be started."""
        try:
            self.process = await self.pod.runtime.start(self.request, streams.child)
            await streams.started()
        except StartError as error:
            streams.close_child()
            self._failed_to_start(began, str(error))
            return None
        self.state.container_id = f"kcompile://{secrets.token_hex(32)}"
        self.pod.event("Normal", "Started", f"Started container {self.name}")
        return await self._live(self.process, began)

    async def _prepared(self) -> dict[str, Any] | None:
        """The request for the spawner, as soon as there is one; None if the container is to stop."""
        pulls = Backoff(*_PULLS)
        self._folder.mkdir(parents=True, exist_ok=True)
        while not self.stopping.is_set():
            try:
                request, self.state.image_id = self.pod.spec_of(self.spec, self._folder)
            except CreateError as error:
                if self._wait_for("CreateContainerConfigError", str(error)):
                    self.pod.event("Warning", "Failed", f"Error: {error}")
                await self._pause(_CREATE_AGAIN)
            except KcompileError as error:
                await self._without_image(str(error), pulls)
            else:
                image = f'Container image "{self.state.image}" already present on machine'
                self.pod.event("Normal", "Pulled", image)
                self.pod.event("Normal", "Created", f"Created container: {self.name}")
                return request
        return None

    async def _without_image(self, problem: str, pulls: Backoff) -> None:
        name = self.state.image
        if self.spec.get("imagePullPolicy") == "Never":
            text = f'Container image "{name}" is not present with pull policy of Never'
            self._wait_for("ErrImageNeverPull", text)
            self.pod.event("Warning", "ErrImageNeverPull", text)
            await self._pause(_PULLS[1])
            return
        self._wait_for("ErrImagePull", problem)
        self.pod.event("Warning", "Failed", f'Failed to pull image "{name}": {problem}')
        await self._pause(_PULLS[0])
        text = f'Back-off pulling image "{name}": ErrImagePull: {problem}'
        self._wait_for("ImagePullBackOff", text)
        self.pod.event("Normal", "BackOff", f'Back-off pulling image "{name}"')
        await self._pause(pulls.ended())

    async def _live(self, process: Process, began: float) -> int:
        """From the start to the end: hooks and probes beside it. Returns the exit code."""
        life = Life(self, process, _AGENT)
        if not await life.post_start():
            await self._end(process, self.pod.grace)
        elif process.runs:
            self.state.state = {"running": {"startedAt": timestamp(began)}}
            life.begin()
            self.pod.publish()
        try:
            return await process.wait()
        finally:
            await life.end()

    def target(self) -> Target:
        """What the container's probes and hooks are aimed at."""
        return Target(self.pod.node_netns, self.pod.ip, ports(self.spec), self.run_command)

    async def end_for(self, why: str, grace: float | None) -> None:
        """End the running process, so that it is started again; `why` is for the event."""
        if self.process is not None and self.process.runs:
            self.pod.event("Normal", "Killing", f"Container {self.name} {why}")
            await self._end(self.process, self.pod.grace if grace is None else grace)

    async def _end(self, process: Process, grace: float) -> None:
        deadline = asyncio.get_running_loop().time() + grace
        hooks = self.spec.get("lifecycle") or {}
        if hook := hooks.get("preStop"):
            result = await act(hook, self.target(), max(grace, _LEAST_GRACE), _AGENT)
            if not result.good:
                self.pod.event("Warning", "FailedPreStopHook", result.message)
            deadline = max(deadline, asyncio.get_running_loop().time() + min(grace, _LEAST_GRACE))
        wanted = hooks.get("stopSignal") or self.request.get("stopSignal") or "SIGTERM"
        process.signal(getattr(signal, wanted, signal.SIGTERM))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await process.wait()
        process.signal(signal.SIGKILL)

    # --- states ---

    def _again(self, code: int) -> bool:
        return self.policy == "Always" or (self.policy == "OnFailure" and code != 0)

    def _wait_for(self, reason: str, message: str) -> bool:
        """Say that the container waits; False if that was said already."""
        waiting = {"waiting": {"reason": reason, "message": message}}
        if self.state.state == waiting:
            return False
        self.state.state = waiting
        self.pod.publish()
        return True

    def _failed_to_start(self, began: float, error: str) -> None:
        self.pod.event("Warning", "Failed", f"Error: {error}")
        self._terminated(_NOT_STARTED, began, "StartError", error)

    def _ended(self, code: int, began: float, reason: str) -> None:
        with contextlib.suppress(OSError):
            data = (self._folder / "termination-log").read_bytes()[:_LONGEST_MESSAGE]
            self._terminated(
                code, began, reason or ("Error" if code else "Completed"), data.decode(errors="replace")
            )

    def _terminated(self, code: int, began: float, reason: str, message: str) -> None:
        ended: dict[str, Any] = {
            "containerID": self.state.container_id,
            "exitCode": code,
            "finishedAt": timestamp(time.time()),
            "reason": reason,
            "startedAt": timestamp(began),
        }
        if message:
            ended["message"] = message
        self.state.state = {"terminated": ended}
        self.state.started = False
        self.state.ready = not self.state.restartable and code == 0
        self.process = None
        self.pod.publish()

    async def _wait_to_restart(self, delay: float) -> None:
        self.state.last = self.state.state
        if delay:
            text = f"back-off {delay:g}s restarting failed container={self.name} pod={self.pod.title}"
            self._wait_for("CrashLoopBackOff", text)
            self.pod.event("Warning", "BackOff", f"Back-off restarting failed container {self.name}")
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than until the container is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    def _new_log(self) -> Log:
        """The log of this start; that of the start before stays, older ones go."""
        oldest = self._log_of(self.state.restarts - 2)
        for path in (oldest, old_of(oldest)):
            path.unlink(missing_ok=True)
        return Log(self._log_of(self.state.restarts))
