"""A cluster without processes: Store, Client and all controllers, and in the place of the kubelets a watcher
that marks Pods ready after a while and ends the deleted ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

from kcompile.apiserver import StatusError, Store
from kcompile.lab.client import Client
from kcompile.lab.controllers import Settings, run
from kcompile.lab.controllers.pods import stamp, with_condition


def node(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def template(app: str, image: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}], "terminationGracePeriodSeconds": 1, **spec},
    }


def workload(
    kind: str, name: str, *, image: str = "a", pod: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, image, **(pod or {})),
            **spec,
        },
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec},
    }


class FakeKubelets:
    """`ready_after`: seconds from a Pod's binding to its readiness, by the Pod; None for never."""

    def __init__(self, client: Client, delay: float) -> None:
        self.ready_after: Callable[[dict[str, Any]], float | None] = lambda _: delay
        self.stops_after = delay
        self._client = client
        self._addresses = itertools.count(2)
        self._loop = asyncio.get_running_loop()
        client.watch(["Pod"], self._changed)

    def _changed(self, _kind: str, old: Any, new: Any) -> None:
        if new is None or not new["spec"].get("nodeName"):
            return
        key = new["metadata"]["namespace"], new["metadata"]["name"], new["metadata"]["uid"]
        if "deletionTimestamp" in new["metadata"]:
            if old is None or "deletionTimestamp" not in old["metadata"]:
                self._loop.call_later(self.stops_after, self._stopped, *key)
        elif old is None or not old["spec"].get("nodeName"):
            delay = self.ready_after(new)
            if delay is not None:
                self._loop.call_later(delay, self.runs, *key)

    def runs(self, namespace: str, name: str, uid: str, ready: bool = True, phase: str = "Running") -> None:
        """Set the status of a Pod, if it is still there."""
        pod = self._client.get("Pod", namespace, name)
        if pod is None or pod["metadata"]["uid"] != uid or "deletionTimestamp" in pod["metadata"]:
            return
        status = pod["status"]
        number = next(self._addresses)
        ip = status.get("podIP") or f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        new = {"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(0)}
        conditions = with_condition(status.get("conditions") or (), new)
        status = {**status, "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
        self._client.update_status({**pod, "status": status})

    def ends(self, pod: dict[str, Any], phase: str) -> None:
        """The Pod ends: Succeeded or Failed."""
        meta = pod["metadata"]
        self.runs(meta["namespace"], meta["name"], meta["uid"], ready=False, phase=phase)

    def _stopped(self, namespace: str, name: str, uid: str) -> None:
        pod = self._client.get("Pod", namespace, name)
        if pod is not None and pod["metadata"]["uid"] == uid:
            with contextlib.suppress(StatusError):
                self._client.delete("Pod", namespace, name, 0)


class Cluster:
    """What a test has of it. `until` waits for a condition on what is there."""

    def __init__(self, client: Client, delay: float) -> None:
        self.client = client
        self.kubelets = FakeKubelets(client, delay)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return list(self.client.objects(kind).values())

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        found = self.client.get(kind, namespace, name)
        assert found is not None, f"no {kind} {namespace}/{name}"
        return found

    def change(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        self.client.store.patch(kind, "default", name, patch)

    def ready_pods(self) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.all("Pod")
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())
            )
        ]

    async def until(self, condition: Callable[[], Any], seconds: float = 20) -> Any:
        """What `condition` returns once it is true."""
        async with asyncio.timeout(seconds):
            while not (found := condition()):
                await asyncio.sleep(0.002)
        return found

    async def rolled_out(self, name: str) -> None:
        """As `kubectl rollout status deployment` asks it."""

        def done() -> bool:
            deployment = self.get("Deployment", name)
            status, wanted = deployment["status"], deployment["spec"]["replicas"]
            seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
            counts = ("replicas", "updatedReplicas", "availableReplicas")
            return seen and all(status.get(key, 0) == wanted for key in counts)

        await self.until(done)


@contextlib.asynccontextmanager
async def cluster(nodes: int = 2, *, delay: float = 0.005, **settings: Any) -> AsyncIterator[Cluster]:
    """Controllers over a store with so many nodes; `delay`: seconds until a Pod is ready, or has stopped."""
    client = Client(Store(controllers=True))
    made = Cluster(client, delay)
    for number in range(nodes):
        client.create(node(f"node-{number}"))
    task = asyncio.create_task(run(client, Settings(**settings)))
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        client.close()
