"""The queue and the loop of a controller: retries, rests, failures, no work without a change."""

import asyncio
import time

import pytest

from harness.controllers import cluster, service, workload
from kcompile.apiserver import StatusError, Store
from kcompile.lab.client import Client
from kcompile.lab.controllers.loop import run_controller
from kcompile.lab.controllers.queue import Queue
from kcompile.lab.controllers.writes import Again, Create, Delete, carry_out
from unit.lab.controllers.test_whole import runs

A, B = ("default", "a"), ("default", "b")


@runs
async def test_a_key_is_in_the_queue_once_and_comes_in_its_turn():
    queue = Queue()
    for key in (A, B, A):
        queue.add(key)
    assert [await queue.next(), await queue.next()] == [A, B]
    waiting = asyncio.ensure_future(queue.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.add(B)
    assert await waiting == B


@runs
async def test_failures_wait_longer_each_time_until_a_success():
    queue = Queue()
    assert [queue.failed(A), queue.failed(A), queue.failed(A)] == [0.02, 0.04, 0.08]
    for _ in range(30):
        longest = queue.failed(A)
    assert longest == 30
    queue.worked(A, 1, cpu=0)
    assert queue.failed(A) == 0.02
    assert await asyncio.wait_for(queue.next(), 5) == A
    queue.close()


@runs
async def test_of_two_times_the_sooner_holds():
    queue = Queue()
    queue.add_after(A, 0.02)
    queue.add_after(A, 60)
    queue.add_after(B, 60)
    queue.add_after(B, 0.01)
    assert [await queue.next(), await queue.next()] == [B, A]
    queue.close()


@runs
async def test_a_costly_key_rests_and_others_go_on():
    queue = Queue()
    queue.worked(A, 0.005, cpu=0.005)
    began = time.monotonic()
    queue.add(A)
    queue.add(B)
    assert await queue.next() == B
    assert await queue.next() == A
    assert time.monotonic() - began >= 0.045
    queue.worked(A, 0.005, cpu=0.005)
    queue.add(A, urgent=True)
    assert await queue.next() == A
    assert time.monotonic() - began < 5


class Flaky:
    """Fails twice, then waits once, then is content."""

    name, kinds = "flaky", ("Service",)

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def affected(self, _kind, old, new):
        meta = (new or old)["metadata"]
        return [(meta["namespace"], meta["name"])]

    def decide(self, key):
        self.seen.append(key)
        if key == A and self.seen.count(A) < 3:
            raise ValueError("no")
        return [Again(0.01)] if self.seen.count(A) == 3 else []


@runs
async def test_a_failure_is_retried_and_stops_no_other_key():
    client, flaky = Client(Store()), Flaky()
    client.create(service("a"))
    client.create(service("b"))
    task = asyncio.create_task(run_controller(client, flaky))
    while flaky.seen.count(A) < 4:
        await asyncio.sleep(0.005)
    assert flaky.seen[:2] == [A, B]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    client.close()


@runs
async def test_what_is_refused_is_told_to_the_owner():
    client = Client(Store())
    owner = client.create(service("a"))
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}, "spec": {}}
    with pytest.raises(StatusError, match=r"spec\.ports"):
        carry_out(client, [Create(wrong, owner)], "test")
    (event,) = client.objects("Event").values()
    assert event["reason"] == "FailedCreate"
    assert event["message"].startswith('Error creating: Service "b" is invalid')
    carry_out(client, [Delete(owner), Delete(owner)], "test")  # gone already: no error
    client.close()


@runs
async def test_nothing_is_written_and_no_time_is_spent_without_a_change():
    async with cluster(3, api_endpoints=(("10.0.0.1", 6443),), ca_certificate="PEM") as c:
        c.client.create(service("web", type="LoadBalancer"))
        for kind in ("Deployment", "StatefulSet", "DaemonSet"):
            c.client.create(workload(kind, "web" if kind == "Deployment" else kind.lower()))
        await c.rolled_out("web")
        await c.until(lambda: len(c.ready_pods()) == 5)
        await asyncio.sleep(0.3)
        version, began = c.client.store.version, time.process_time()
        await asyncio.sleep(0.5)
        assert c.client.store.version == version
        assert time.process_time() - began < 0.05
