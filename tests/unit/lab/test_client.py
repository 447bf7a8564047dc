"""The client inside the lab's process: what it reads is current, and every change is told once, in order."""

import asyncio
import threading

import pytest

from kcompile.apiserver import StatusError, Store
from kcompile.lab.client import Client


def service(name: str, **labels: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"ports": [{"port": 80}]},
    }


def run(scenario):
    async def within():
        client = Client(Store())
        try:
            await scenario(client)
        finally:
            client.close()

    asyncio.run(within())


async def settled():
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_write_can_be_read_at_once():
    async def scenario(client):
        client.create(service("a"))
        assert client.objects("Service")["default", "a"]["spec"]["clusterIP"]
        client.store.delete("Service", "default", "a")
        assert client.get("Service", "default", "a") is None
        assert client.get("Namespace", "", "default")["kind"] == "Namespace"

    run(scenario)


def test_a_watch_tells_what_is_there_and_then_each_change():
    async def scenario(client):
        seen = []

        def changed(kind, old, new):
            seen.append((kind, old and old["metadata"]["labels"], new and new["metadata"]["labels"]))

        client.create(service("a", v="1"))
        stop = client.watch(["Service"], changed)
        assert seen == []  # in the loop, not in the call
        client.update(service("a", v="2"))
        client.delete("Service", "default", "a")
        await settled()
        assert seen == [
            ("Service", None, {"v": "1"}),
            ("Service", {"v": "1"}, {"v": "2"}),
            ("Service", {"v": "2"}, None),
        ]
        stop()
        client.create(service("b"))
        await settled()
        assert len(seen) == 3

    run(scenario)


def test_a_watcher_that_fails_doesnt_stop_the_others(caplog):
    async def scenario(client):
        seen = []

        def failing(_kind, _old, new):
            raise ValueError(new["metadata"]["name"])

        client.watch(["Service"], failing)
        client.watch(["Service"], lambda *change: seen.append(change))
        client.create(service("a"))
        client.create(service("b"))
        await settled()
        assert len(seen) == 2

    run(scenario)
    assert caplog.text.count("a watcher of Service failed") == 2


def test_forgotten_changes_are_told_as_the_difference():
    async def scenario(client):
        seen = []
        for name in "abc":
            client.create(service(name, v="1"))
        client.watch(["Service"], lambda _, old, new: seen.append((bool(old), bool(new))))
        await settled()
        seen.clear()
        client.store.delete("Service", "default", "a")
        client.store.update(service("b", v="2"))
        client.store.compact()
        await settled()
        assert seen == [(True, False), (True, True)]
        assert [name for _, name in client.objects("Service")] == ["b", "c"]

    run(scenario)


def test_another_threads_write_wakes_the_loop():
    async def scenario(client):
        heard = asyncio.Event()
        client.watch(["Service"], lambda *_: heard.set())
        threading.Thread(target=client.store.create, args=(service("a"),)).start()
        await asyncio.wait_for(heard.wait(), 10)

    run(scenario)


def test_unknown_kinds_and_refused_writes():
    async def scenario(client):
        with pytest.raises(LookupError, match="no kind Gateway"):
            client.objects("Gateway")
        with pytest.raises(StatusError, match="not found"):
            client.delete("Service", "default", "a")

    run(scenario)
