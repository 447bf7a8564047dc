"""One kind followed from a raw server, until a test has seen enough."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kcompile.agent.api.backoff import Timing
from kcompile.agent.api.connection import connect
from kcompile.agent.api.reflector import Reflector
from kcompile.agent.api.resources import Resource, resources
from kcompile.agent.source import Kind

from .raw_server import Answer, Asked, hold, serving
from .sink import Held

__all__ = ["QUICK", "SERVICE", "called", "follow", "kubeconfig", "resource", "script", "stream"]

QUICK = Timing(shortest=0.005, longest=0.02, silence=20, answer=10, absent=0.01)
SERVICE: dict[str, Any] = {"spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}}


def resource(kind: Kind) -> Resource:
    return next(each for each in resources("node-a", namespaces=True) if each.kind == kind)


def kubeconfig(server: str, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None) -> str:
    """A kubeconfig, in JSON."""
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
            "users": [{"name": "u", "user": user or {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def called(call: str, times: int = 1) -> Callable[[Held, list[Asked]], bool]:
    """The sink was called so: "put NAMESPACE/NAME", "listed KIND COUNT", ..."""
    return lambda held, _: held.calls.count(call) >= times


def script(*answers: Answer) -> Callable[[Asked], Answer]:
    """Each answer once, in order; then every watch stays open, and a list has the last answer again."""
    left = list(answers)

    def answer(asked: Asked) -> Answer:
        if left:
            return left.pop(0)
        return hold() if asked.is_watch else answers[-1]

    return answer


def stream(*items: dict[str, Any], version: str = "100") -> Answer:
    """A streamed list that is whole, and stays open."""
    added = [json.dumps({"type": "ADDED", "object": item}) for item in items]
    ends = {"resourceVersion": version, "annotations": {"k8s.io/initial-events-end": "true"}}
    end = json.dumps({"type": "BOOKMARK", "object": {"metadata": ends, "spec": {}}})
    return hold("".join(f"{line}\n" for line in [*added, end]).encode())


def follow(
    kind: Kind,
    answers: Iterable[Answer] | Callable[[Asked], Answer],
    until: Callable[[Held, list[Asked]], bool],
    timing: Timing = QUICK,
) -> tuple[Held, list[Asked]]:
    """What a sink holds, and what the server was asked, when `until` holds."""

    async def main() -> tuple[Held, list[Asked]]:
        held = Held()
        answer = answers if callable(answers) else script(*answers)
        async with serving(answer) as server:
            path = Path(folder) / "config"
            path.write_text(kubeconfig(server.url))
            connection = connect(str(path))
            reflector = Reflector(resource(kind), connection, held, timing, random.Random(1))
            task = asyncio.create_task(reflector.run())
            task.add_done_callback(lambda _: held.nudge())
            server.on_asked = held.nudge
            await held.until(lambda: task.done() or until(held, server.asked))
            if task.done():
                await task
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await connection.close()
            return held, server.asked

    with TemporaryDirectory() as folder:
        return asyncio.run(main())
