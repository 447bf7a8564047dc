"""How clients of the API reach containers: logs, processes, streams, connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from ...apiserver import StatusError
from .container import ContainerWorker
from .logs import LogOptions, read_log
from .pod import PodWorker
from .probing import connected
from .runtime import StartError
from .streams import Attached, Executed

__all__ = ["Access"]

_WAITS = {
    "ErrImagePull": "trying and failing to pull image",
    "ImagePullBackOff": "trying and failing to pull image",
}


class Access:
    """apiserver.streams.Containers, over the pods that run. `workers`: by namespace and name."""

    def __init__(self) -> None:
        self.workers: dict[tuple[str, str], PodWorker] = {}

    async def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool,
        tail: int | None,
        since: float | None,
        previous: bool,
        timestamps: bool,
        limit: int | None,
    ) -> AsyncIterator[bytes]:
        """Raises StatusError where there is no such container, or it has no log."""
        worker = self._container(namespace, pod, container)
        path = worker.log_path(previous=previous)
        if not path.exists():
            raise StatusError(400, "BadRequest", _no_log(worker, pod, previous=previous))
        log = worker.output.log if worker.output and not previous else None
        options = LogOptions(follow, tail, since, timestamps, limit)
        async for piece in read_log(path, options, log):
            yield piece

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        tty: bool,
    ) -> Executed:
        """Raises StatusError where the container doesn't run, or the command can't be started."""
        del stdout, stderr  # the client takes what it wants
        worker = self._running(namespace, pod, container)
        try:
            return await worker.exec(command, stdin=stdin, tty=tty)
        except StartError as error:
            raise StatusError(
                500, "InternalError", f"error executing command in container: {error}"
            ) from None

    async def attach(
        self, namespace: str, pod: str, container: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> Attached:
        """Raises StatusError where the container doesn't run."""
        del stdout, stderr, tty
        worker = self._running(namespace, pod, container)
        assert worker.process is not None
        assert worker.output is not None
        return Attached(worker.process, worker.output, stdin=stdin and bool(worker.spec.get("stdin")))

    async def connect(
        self, namespace: str, pod: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises StatusError where the pod doesn't run, or nobody listens on `port`."""
        worker = self._pod(namespace, pod)
        if worker.sandbox is None:
            raise StatusError(400, "BadRequest", f"unable to forward port because pod is not running: {pod}")
        problem: OSError | None = None
        for host in ("127.0.0.1", "::1"):
            try:
                connection = await connected(worker.netns, host, port)
            except OSError as error:
                problem = problem or error
            else:
                return await asyncio.open_connection(sock=connection)
        text = f"failed to connect to localhost:{port} inside namespace of pod {pod}: {problem}"
        raise StatusError(500, "InternalError", text)

    def _pod(self, namespace: str, pod: str) -> PodWorker:
        worker = self.workers.get((namespace, pod))
        if worker is None:
            raise StatusError(404, "NotFound", f'pods "{pod}" not found on any node')
        return worker

    def _container(self, namespace: str, pod: str, name: str) -> ContainerWorker:
        """The container called `name`; the pod's first where that is empty."""
        worker = self._pod(namespace, pod)
        if not name:
            return worker.containers[0]
        found = next((each for each in worker.workers if each.name == name), None)
        if found is None:
            raise StatusError(400, "BadRequest", f"container {name} is not valid for pod {pod}")
        return found

    def _running(self, namespace: str, pod: str, name: str) -> ContainerWorker:
        worker = self._container(namespace, pod, name)
        if worker.process is None or not worker.process.runs:
            raise StatusError(404, "NotFound", f'container not found ("{worker.name}")')
        return worker


def _no_log(worker: ContainerWorker, pod: str, *, previous: bool) -> str:
    if previous:
        return f'previous terminated container "{worker.name}" in pod "{pod}" not found'
    reason = (worker.state.state.get("waiting") or {}).get("reason", "ContainerCreating")
    return f'container "{worker.name}" in pod "{pod}" is waiting to start: {_WAITS.get(reason, reason)}'
