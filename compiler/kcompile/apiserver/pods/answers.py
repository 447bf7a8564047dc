"""Which subresource of a Pod is asked, and of which container."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..options import read_boolean
from ..paths import Target
from ..status import bad_request, method_not_allowed, not_supported
from ..store import Store
from ..streams import Containers, Running
from .forward import forward_answer
from .logs import LogOptions, log_answer
from .streams import is_websocket, stream_answer

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["PodStreams"]

_NOWHERE = "this server has nobody who answers for the containers of pods"
_SPDY = "this server speaks WebSocket (v5.channel.k8s.io) for exec and attach, not SPDY"


class _Wanted(NamedTuple):
    """Which streams of a process are asked for, and whether it gets a terminal."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class PodStreams:
    """Answers requests for PARTS of Pods out of `containers`; without it they are 501."""

    PARTS = ("log", "exec", "attach", "portforward")

    def __init__(self, store: Store, containers: Containers | None) -> None:
        self._store, self._containers = store, containers

    async def answer(self, request: web.Request, asked: Target) -> web.StreamResponse:
        """Answer one request.

        :raises StatusError: 404, 400 for another container, 501
        """
        allowed = ("GET",) if asked.part == "log" else ("GET", "POST")
        if request.method not in allowed:
            raise method_not_allowed()
        pod = self._store.get("Pod", asked.namespace, asked.name)
        if self._containers is None:
            raise not_supported(_NOWHERE)
        if asked.part == "portforward":
            connect = partial(self._containers.connect, asked.namespace, asked.name)
            return await forward_answer(request, connect)
        container = _container(pod, request.query.get("container", ""))
        if asked.part == "log":
            options = LogOptions.read(request.query)
            where = (asked.namespace, asked.name, container)
            given = bool(pod["spec"].get("nodeName"))
            return await log_answer(
                request, self._containers.logs(*where, **options._asdict()) if given else None
            )
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {asked.name} does not have a host assigned")
        if not is_websocket(request):
            raise not_supported(_SPDY)
        return await stream_answer(request, _starting(request, asked, container, self._containers))


def _starting(
    request: web.Request, asked: Target, container: str, containers: Containers
) -> Awaitable[Running]:
    """The process whose streams are asked for, which begins when it is awaited.

    :raises StatusError: 400 for a request without a command, or without streams
    """
    wanted = _Wanted(*(read_boolean(name, request.query.get(name, "")) for name in _Wanted._fields))
    if not any(wanted[:3]):
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    where = (asked.namespace, asked.name, container)
    if asked.part == "attach":
        return containers.attach(*where, **wanted._asdict())
    command = request.query.getall("command", [])
    if not command:
        raise bad_request("you must specify the command to run")
    return containers.exec(*where, command, **wanted._asdict())


def _container(pod: dict[str, Any], asked: str) -> str:
    """The container that is meant.

    :raises StatusError: 400, where there is no such container, or none was named and there are several
    """
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [each["name"] for each in spec.get("containers") or ()]
    first = [each["name"] for each in spec.get("initContainers") or ()]
    if not asked:
        if len(names) == 1:
            return str(names[0])
        said = f"choose one of: [{' '.join(names)}]"
        if first:
            said += f" or one of the init containers: [{' '.join(first)}]"
        raise bad_request(f"a container name must be specified for pod {name}, {said}")
    if asked not in (*names, *first):
        raise bad_request(f"container {asked} is not valid for pod {name}")
    return asked
