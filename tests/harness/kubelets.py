"""A lab without controllers and agents: namespaces, a store, and the kubelets of its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from kcompile.apiserver import Store
from kcompile.lab import netns, network
from kcompile.lab.client import Client
from kcompile.lab.kubelet import Kubelets
from kcompile.lab.settings import LabSettings

__all__ = ["KubeletLab"]


class KubeletLab(contextlib.ExitStack):
    """One node, node-a, and its kubelet, in an event loop that turns while `run` does. A context manager."""

    def __init__(self, name: str, directory: Path, **settings: Any) -> None:
        super().__init__()
        nodes = network.default_nodes(1, dual_stack=False)
        cidrs = ["10.96.0.0/12"]
        self.settings = LabSettings(name=name, service_cidrs=cidrs, nodes=nodes, **settings)
        self.directory = directory
        self.wired: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._make_namespaces()
            self.runner = self.enter_context(asyncio.Runner())
            self.run(self._begin())
        except BaseException:
            self.close()
            raise
        return self

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What `work` returns; meanwhile the kubelets work too."""
        return self.runner.run(work)

    def _make_namespaces(self) -> None:
        name, node = self.settings.name, self.settings.nodes[0]
        self.callback(lambda: netns.remove(netns.of_lab(name)))
        names = [netns.netns_name(name, role) for role in ("fabric", "client")]
        own = netns.netns_name(name, "node", node.name)
        netns.add([*names, own])
        netns.tune(own, network.forwarding)
        netns.batch(network.fabric_lines([node], {node.name: own}, names[1], True, 1), names[0])
        netns.batch(network.node_lines(node, [node], True), own)

    async def _begin(self) -> None:
        async def wired(node: str, link: str) -> None:
            self.wired.append((node, link))

        self.client = Client(Store())
        self.kubelets = Kubelets(self.client, self.settings, self.directory, wired)
        task = asyncio.create_task(self.kubelets.run())
        self.callback(lambda: self.run(_cancelled(task)))
        await asyncio.sleep(0)

    # --- what tests do in the loop ---

    def create(self, pod: Mapping[str, Any], **spec: Any) -> None:
        """Create a pod, bound to the node."""
        own = copy.deepcopy(dict(pod))
        own["spec"] = {**own["spec"], **spec, "nodeName": "node-a"}
        self.client.create(own)

    def busybox(self, name: str, script: str, **more: Any) -> None:
        """Create a pod whose container ``c`` runs a shell script; `more`: of the container, or ``pod``."""
        pod = more.pop("pod", {})
        container = {"name": "c", "image": "busybox", "command": ["sh", "-c", script], **more}
        meta = {"name": name, "namespace": "default"}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0, **pod}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    def pod(self, name: str) -> dict[str, Any] | None:
        return self.client.get("Pod", "default", name)

    def status(self, name: str) -> dict[str, Any]:
        return (self.pod(name) or {}).get("status") or {}

    def container(self, name: str, which: str = "containerStatuses") -> dict[str, Any]:
        """The status of the pod's first container, or init container."""
        found = self.status(name).get(which)
        return found[0] if found else {}

    def ready(self, name: str) -> bool:
        conditions = self.status(name).get("conditions") or ()
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def events(self, name: str) -> list[str]:
        """Reason and message of each event of the pod."""
        events = self.client.objects("Event").values()
        return [
            f"{each['reason']}: {each['message']}"
            for each in events
            if each["involvedObject"]["name"] == name
        ]

    async def until(self, condition: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Wait for `condition`; returns what it does. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError("the condition never holds")
            await asyncio.sleep(0.02)
        return found

    async def text(self, name: str, **options: Any) -> str:
        """The log of the pod's container."""
        wanted = {
            "follow": False,
            "tail": None,
            "since": None,
            "previous": False,
            "timestamps": False,
            "limit": None,
        }
        pieces = [piece async for piece in self.kubelets.logs("default", name, "", **(wanted | options))]
        return b"".join(pieces).decode()

    async def exec(
        self, name: str, *command: str, given: bytes | None = None, tty: bool = False
    ) -> tuple[int, str]:
        """Run a command in the pod's container: its exit status, and what it wrote."""
        running = await self.kubelets.exec(
            "default", name, "", command, stdin=given is not None, stdout=True, stderr=True, tty=tty
        )
        if running.stdin is not None:
            running.stdin.write(given or b"")
            if not tty:
                running.stdin.close()
        pieces = [data async for _, data in running.output()]
        return await running.wait(), b"".join(pieces).decode()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def documents(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of manifests, each with a namespace."""
    found = [each for each in yaml.safe_load_all(path.read_text()) if each]
    for each in found:
        each["metadata"].setdefault("namespace", "default")
    return found
