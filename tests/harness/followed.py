"""Seeded runs from the server to the kernel: an agent follows an API server whose connections go wrong, while
the cluster changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import kcompile
from kcompile.agent.agent import Agent
from kcompile.agent.api.backoff import Timing
from kcompile.agent.api.connection import connect
from kcompile.agent.api.server import ApiSource
from kcompile.agent.options import Options
from kcompile.apiserver import Store, serve
from kcompile.engine.request import Request, configuration

from .byhand import removals
from .faults import Plan, proxy

__all__ = ["NODE", "Changes", "differences", "follow"]

NODE = "192.0.2.10"
_QUICK = Timing(shortest=0.01, longest=0.05, answer=2.0, page=2.0, watch=(1.0, 2.0), silence=0.3, absent=9.0)
_NAMES = tuple(f"web-{number}" for number in range(12))
_ENDS = 60.0  # seconds in which everything has to come right; mode xdp compiles its programs first
_CHECKED = 1.0  # seconds between two checks of the agent
_LOOK = 0.05  # seconds between two looks whether it is


class Changes:
    """Random changes of a dozen Services and their slices in `store`, which compete for a few external
    addresses.
    """

    def __init__(self, store: Store, rng: random.Random) -> None:
        self._store, self._rng = store, rng
        node = {"addresses": [{"type": "InternalIP", "address": NODE}]}
        store.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}, "status": node})

    def make(self) -> None:
        """Create, change or delete one object."""
        rng = self._rng
        number = rng.randrange(len(_NAMES))
        match rng.choice(("service", "slice", "slice", "slice", "no service", "no slice")):
            case "service":
                self._store.put(_service(rng, number))
            case "slice":
                self._store.put(_slice(rng, number))
            case "no service":
                self._delete("Service", _NAMES[number])
            case "no slice":
                self._delete("EndpointSlice", f"{_NAMES[number]}-x")

    def first(self) -> None:
        """A Service that stays: a node without any is a case of its own, and an input that is refused."""
        self._store.put(_service(self._rng, len(_NAMES)))

    def _delete(self, kind: str, name: str) -> None:
        if any(item["metadata"]["name"] == name for item in self._store.list(kind)):
            self._store.delete(kind, "default", name)


def _service(rng: random.Random, number: int) -> dict[str, Any]:
    kind = rng.choice(("ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"))
    port = {"name": "p", "port": rng.choice((80, 81)), "protocol": rng.choice(("TCP", "TCP", "UDP"))}
    vip = f"10.96.0.{number + 1}"
    spec: dict[str, Any] = {"type": kind, "clusterIP": vip, "clusterIPs": [vip], "ipFamilies": ["IPv4"]}
    if kind != "ClusterIP":
        port["nodePort"] = 30001 + number
        spec["externalTrafficPolicy"] = rng.choice(("Cluster", "Local"))
    if rng.random() < 0.2:
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": rng.choice((60, 10800))}}
    if rng.random() < 0.2:
        spec["externalIPs"] = [rng.choice(("198.51.100.1", "198.51.100.2"))]
    status: dict[str, Any] = {}
    if kind == "LoadBalancer":
        status = {"loadBalancer": {"ingress": [{"ip": f"198.51.100.{10 + number % 3}"}]}}
        if spec["externalTrafficPolicy"] == "Local":
            spec["healthCheckNodePort"] = 32001 + number
        if rng.random() < 0.3:
            spec["loadBalancerSourceRanges"] = ["203.0.113.0/24"]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _NAMES[number] if number < len(_NAMES) else "first", "namespace": "default"},
        "spec": {**spec, "ipFamilyPolicy": "SingleStack", "ports": [port]},
        "status": status,
    }


def _slice(rng: random.Random, number: int) -> dict[str, Any]:
    name = _NAMES[number]
    endpoints = []
    for last in rng.sample(range(1, 9), rng.choice((0, 1, 3))):
        ready = rng.random() < 0.8
        conditions = {"ready": ready, "serving": ready or rng.random() < 0.5, "terminating": not ready}
        home = rng.choice(("node-a", "node-b"))
        endpoints.append({"addresses": [f"10.244.0.{last}"], "conditions": conditions, "nodeName": home})
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-x",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "p", "port": 8080, "protocol": rng.choice(("TCP", "TCP", "UDP"))}],
        "endpoints": endpoints,
    }


def differences(objects: Iterable[dict[str, Any]], netns: str, mode: str, **options: Any) -> list[str]:
    """What a command would change on node-a now, for `objects`: a look by other code than the agent's.

    :param options: of `kcompile.read_cluster`
    """
    cluster = kcompile.read_cluster(objects, **{"node": "node-a", "netns": netns, **options})
    plan = kcompile.plan(cluster, mode=mode)
    return [f"{change.key}: {change.old} -> {change.new}" for change in plan.changes] + list(plan.other_modes)


def _objects(store: Store) -> list[dict[str, Any]]:
    return [item for kind in ("Node", "Service", "EndpointSlice") for item in store.list(kind)]


async def follow(netns: str, folder: Path, mode: str, seed: int, *, changes: int = 60) -> str:
    """One run in namespace `netns`; returns what is wrong in the end, empty for nothing.

    In one run of three the agent ends and starts again meanwhile, in one of three somebody removes rules.
    """
    rng, store, plan = random.Random(seed), Store(), Plan(seed, last=6)
    world = Changes(store, rng)
    world.first()
    for _ in range(rng.choice((0, 30))):
        world.make()
    removed = rng.randrange(changes) if rng.random() < 1 / 3 else None
    ended = rng.randrange(changes) if rng.random() < 1 / 3 else None
    async with serve(store) as server, proxy(server, plan, retry_after=0) as before:
        running = _Running(netns, _kubeconfig(folder, before.url), mode, seed)
        try:
            for number in range(changes):
                world.make()
                await asyncio.sleep(rng.choice((0, 0.001, 0.02)))
                if number == ended:
                    await running.end()
                    running.start()
                if number == removed and running.agent.record.last_sync is not None:
                    what, remove = rng.choice(list(removals(mode, netns).items()))
                    running.lines.append(f"removed: {what}")
                    await asyncio.to_thread(remove)
            plan.calm()
            left = await running.until_right(store)
        finally:
            await running.end()
    return "\n".join([f"seed {seed}:", *left, repr(plan), *running.lines[-20:]]) if left else ""


class _Running:
    """An agent in namespace `netns`, and another one after it."""

    def __init__(self, netns: str, config: Path, mode: str, seed: int) -> None:
        self._netns, self._config, self._mode, self._seed = netns, config, mode, seed
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        """The next agent."""
        source = ApiSource(connect(str(self._config)), "node-a", timing=_QUICK, seed=self._seed)
        request = Request(netns=self._netns, node="node-a", mode=self._mode)
        options = Options(request=request, config=configuration(request), sync_period=_CHECKED)
        self.agent = Agent(options, source, _logger(self.lines))
        self._task = asyncio.ensure_future(self.agent.run())

    async def end(self) -> None:
        """It is told to. Raises what it has failed with."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def until_right(self, store: Store) -> list[str]:
        """What the kernel lacks in the end."""
        left = ["no sync"]
        record = self.agent.record
        for _ in range(int(_ENDS / _LOOK)):
            if self._task.done():
                return [f"the agent has ended: {self._task.exception()!r}"]
            await asyncio.sleep(_LOOK)
            if record.last_sync is not None and record.pending_seconds is None:
                left = await asyncio.to_thread(differences, _objects(store), self._netns, self._mode)
                if not left:
                    return []
        return left


def _logger(lines: list[str]) -> logging.Logger:
    log = logging.Logger("agent")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    return log


def _kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(json.dumps(config))
    return path
