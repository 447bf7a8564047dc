"""Against an API server with faults of every kind, in many seeded runs: the sink ends equal to the store."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.certificates import Authority, authority
from harness.faults import Plan, proxy
from kcompile.agent.api.backoff import Timing
from kcompile.agent.api.connection import connect
from kcompile.agent.api.decode import Decoder
from kcompile.agent.api.resources import Resource, resources
from kcompile.agent.api.server import ApiSource
from kcompile.apiserver import Pace, Store, serve
from kcompile.spec.objects import Object

from .following import kubeconfig
from .sink import Held

NODE = "node-a"
KINDS = tuple(resources(NODE, namespaces=True))
TIMING = Timing(shortest=0.001, longest=0.02, silence=0.4, answer=10, page=10, watch=(1, 3), absent=0.02)
HEADLESS = {"service.kubernetes.io/headless": ""}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("certificates"), servers=2)


class Cluster:
    """A store whose objects change by chance."""

    def __init__(self, rng: random.Random) -> None:
        self.store, self._rng = Store(), rng
        self.store.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        cidr = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}}
        self.store.put({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", **cidr})
        for _ in range(40):
            self.change()

    def change(self) -> None:
        """Put, change or delete one object."""
        number = self._rng.randrange(30)
        choice = self._rng.random()
        if choice < 0.1:
            labels = {"beat": str(self._rng.random())}
            self.store.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}})
        elif choice < 0.45:
            self._put_or_delete(self._service(number))
        else:
            self._put_or_delete(self._slice(number))

    def _put_or_delete(self, item: dict[str, Any]) -> None:
        meta = item["metadata"]
        there = any(each["metadata"]["name"] == meta["name"] for each in self.store.list(item["kind"]))
        if there and self._rng.random() < 0.3:
            self.store.delete(item["kind"], "default", meta["name"])
        else:
            self.store.put(item)

    def _service(self, number: int) -> dict[str, Any]:
        ip = "None" if self._rng.random() < 0.2 else f"10.96.1.{number}"
        spec = {"clusterIP": ip, "ports": [{"port": self._rng.randrange(1, 9), "protocol": "TCP"}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._meta(f"s{number}"), "spec": spec}

    def _slice(self, number: int) -> dict[str, Any]:
        labels = {"kubernetes.io/service-name": f"s{number}"} | (HEADLESS if self._rng.random() < 0.2 else {})
        endpoints = [{"addresses": [f"10.0.{number}.{self._rng.randrange(200)}"]} for _ in range(3)]
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
        meta = self._meta(f"s{number}-{number % 3}") | {"labels": labels}
        return {**kind, "metadata": meta, "endpoints": endpoints, "ports": [{"port": 80}]}

    @staticmethod
    def _meta(name: str) -> dict[str, Any]:
        return {"name": name, "namespace": "default"}

    def held(self, resource: Resource) -> dict[str, Object]:
        """What a sink has to hold."""
        items = self.store.list(resource.kind, labels=resource.label, fields=resource.field)
        page = Decoder(resource).page(msgspec.json.encode({"metadata": {}, "items": items}))
        assert not [item for item in page.items if item.object is None]
        return {f"{item.namespace}/{item.name}": item.object for item in page.items if item.object}


def test_the_sink_ends_equal_to_the_store(fault_seed: int, tmp_path: Path, certificates: Authority):
    rng = random.Random(fault_seed)
    plan = Plan(fault_seed, last=6)
    secure = fault_seed % 4 == 0

    async def main() -> None:
        cluster, held = Cluster(rng), Held()
        tls = certificates.server() if secure else None
        pairs = certificates.servers if secure else ()
        async with (
            serve(cluster.store, pace=Pace(bookmarks=0.05)) as server,
            proxy(server, plan, tls=tls, certificates=pairs, retry_after=0) as between,
        ):
            path = tmp_path / "config"
            trusted = {"certificate-authority": str(certificates.certificate)} if secure else None
            path.write_text(kubeconfig(between.url, {"token": "t"}, trusted))
            source = ApiSource(connect(str(path)), NODE, namespaces=True, timing=TIMING, seed=fault_seed)
            task = asyncio.create_task(source.run(held))
            task.add_done_callback(lambda _: held.nudge())
            for _ in range(60):
                cluster.change()
                if rng.random() < 0.05:
                    cluster.store.compact()
                await held.settled(rng.randrange(3))
            plan.calm()
            for resource in KINDS:
                wanted = cluster.held(resource)
                await held.until(lambda r=resource, w=wanted: task.done() or held.objects[r.kind] == w)  # type: ignore[misc]
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    try:
        asyncio.run(main())
    except AssertionError as error:
        raise AssertionError(f"{plan}") from error
