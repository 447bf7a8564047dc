"""The proxy that puts faults between a client and the server: each fault as a client meets it; plans."""

import asyncio
import contextlib
import json
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest

from harness.apiclient import Client, client
from harness.certificates import authority
from harness.faults import EVERY, Fault, Plan, proxy
from kcompile.apiserver import Store, serve

LIST = "/api/v1/services"
WATCH = f"{LIST}?watch=1"
NAMES = [f"web-{number}" for number in range(8)]
ENDED = (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)


def service(name: str, port: int = 80) -> dict:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": port}]}}


def filled() -> Store:
    store = Store()
    for name in NAMES:
        store.create(service(name))
    return store


@asynccontextmanager
async def through(plan: Plan, store: Store | None = None, **options):
    """A client behind the proxy."""
    asking = options.pop("client", {})
    async with (
        serve(store or filled()) as server,
        proxy(server, plan, **options) as between,
        client(between.url, **asking) as found,
    ):
        yield found


def always(fault: Fault, seed: int = 1) -> Plan:
    return Plan(seed, [fault], share=1.0)


def names(body: dict) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


REFUSALS = {
    Fault.BUSY: (429, "TooManyRequests"),
    Fault.BROKEN: (500, "InternalError"),
    Fault.UNAUTHORIZED: (401, "Unauthorized"),
    Fault.GONE: (410, "Expired"),
    Fault.GONE_EVENT: (410, "Expired"),
}


@pytest.mark.parametrize("fault", EVERY)
def test_what_a_list_meets(fault):
    async def ask():
        async with through(always(fault), retry_after=7) as asking:
            return await asking.get(LIST)

    if fault in (Fault.CUT, Fault.RESET, Fault.CERTIFICATE):
        with pytest.raises(ENDED):
            asyncio.run(ask())
        return
    answer = asyncio.run(ask())
    if fault in REFUSALS:
        assert (answer.status, answer.body["reason"]) == REFUSALS[fault]
        assert answer.headers.get("retry-after") == ("7" if fault is Fault.BUSY else None)
    elif fault is Fault.DUPLICATE:
        assert (set(names(answer.body)), len(names(answer.body))) == (set(NAMES), 12)
    elif fault is Fault.REORDER:
        assert sorted(names(answer.body)) == NAMES != names(answer.body)
    else:
        assert names(answer.body) == NAMES


async def followed(asking: Client, silence: float | None = None) -> list[tuple[str, str]]:
    """The events of a watch up to the last Service's, or to its end. `silence`: seconds to wait for one."""
    found: list[tuple[str, str]] = []
    async with asking.watch(WATCH) as events:
        with contextlib.suppress(StopAsyncIteration, TimeoutError):
            while ("ADDED", NAMES[-1]) not in found:
                kind, obj = await asyncio.wait_for(anext(events), silence)
                found.append((kind, obj["metadata"].get("name", "")))
    return found


@pytest.mark.parametrize("fault", EVERY)
def test_what_a_watch_meets(fault):
    async def ask():
        async with through(always(fault, seed=3)) as asking:
            return await followed(asking, 0.1 if fault is Fault.SILENT else None)

    added = [("ADDED", name) for name in NAMES]
    if fault in (Fault.CUT, Fault.RESET, Fault.CERTIFICATE):
        with pytest.raises(ENDED):
            asyncio.run(ask())
    elif fault in REFUSALS and fault is not Fault.GONE_EVENT:
        with pytest.raises(AssertionError, match=REFUSALS[fault][1]):
            asyncio.run(ask())
    elif fault is Fault.GONE_EVENT:
        assert asyncio.run(ask()) == [("ERROR", "")]
    elif fault is Fault.DUPLICATE:
        found = asyncio.run(ask())
        assert sorted(set(found)) == added
        assert len(found) > len(added)
    elif fault is Fault.SILENT:
        found = asyncio.run(ask())
        assert found == added[: len(found)] != added
    else:
        assert asyncio.run(ask()) == added


def test_an_expired_page_goes_on_with_the_token_of_the_410():
    async def ask():
        async with through(Plan(1, [Fault.GONE], share=1.0, first=2, last=2)) as asking:
            first = await asking.get(f"{LIST}?limit=3")
            gone = await asking.get(f"{LIST}?limit=3&continue={first.body['metadata']['continue']}")
            rest = await asking.get(f"{LIST}?continue={gone.body['metadata']['continue']}")
            return first, gone, rest

    first, gone, rest = asyncio.run(ask())
    assert (gone.status, names(first.body) + names(rest.body)) == (410, NAMES)


def test_a_certificate_changes_and_clients_come_back(tmp_path):
    made = authority(tmp_path, servers=2)

    async def ask():
        plan = Plan(1, [Fault.CERTIFICATE], share=1.0, last=1)
        connector = aiohttp.TCPConnector(ssl=made.client())
        async with through(
            plan, tls=made.server(), certificates=made.servers, client={"connector": connector}
        ) as asking:
            place = asking.url.host, asking.url.port
            before = await asyncio.to_thread(ssl.get_server_certificate, place)
            with contextlib.suppress(*ENDED):
                await asking.get(LIST)
            after = await asyncio.to_thread(ssl.get_server_certificate, place)
            return before, after, await asking.get(LIST)

    before, after, answer = asyncio.run(ask())
    assert [before, after] == [certificate.read_text() for certificate, _ in made.servers]
    assert names(answer.body) == NAMES


def test_a_plan_is_the_same_again_and_ends():
    async def ask(seed: int, first: str, second: str) -> Plan:
        plan = Plan(seed, [Fault.BUSY, Fault.BROKEN, Fault.GONE], last=6)
        async with through(plan) as asking:
            for path in (first, second):
                statuses = [(await asking.get(path)).status for _ in range(8)]
                assert statuses[6:] == [200, 200]
        return plan

    nodes = "/api/v1/nodes"
    one, other = asyncio.run(ask(5, LIST, nodes)), asyncio.run(ask(5, nodes, LIST))
    assert sorted(one.log) == sorted(other.log) != []
    assert sorted(asyncio.run(ask(6, LIST, nodes)).log) != sorted(one.log)
    assert f"GET {LIST} " in repr(one)


async def kept_true(asking: Client, until: set[tuple[str, int]]) -> dict[str, int]:
    """A client that lists, watches, and lists again after whatever happens, until it holds `until`."""
    held: dict[str, int] = {}
    while set(held.items()) != until:
        try:
            answer = await asking.get(LIST)
            if answer.status != 200:
                continue
            held = {item["metadata"]["name"]: port_of(item) for item in answer.body["items"]}
            version = answer.body["metadata"]["resourceVersion"]
            async with asking.watch(f"{WATCH}&resourceVersion={version}") as events:
                while set(held.items()) != until:
                    kind, obj = await asyncio.wait_for(anext(events), 0.05)
                    if kind == "ERROR":
                        break
                    held.pop(obj["metadata"]["name"], None)
                    if kind != "DELETED":
                        held[obj["metadata"]["name"]] = port_of(obj)
        except (*ENDED, AssertionError, StopAsyncIteration, TimeoutError, json.JSONDecodeError):
            continue
    return held


def port_of(obj: dict) -> int:
    return obj["spec"]["ports"][0]["port"]


@pytest.mark.parametrize("seed", range(10))
def test_a_client_that_survives_every_fault_ends_with_what_the_server_has(seed):
    async def run():
        store = filled()
        plan = Plan(seed, last=6)
        async with through(plan, store) as asking:
            until = {("web-1", 81), ("web-2", 82), *((name, 80) for name in NAMES[3:])}
            following = asyncio.create_task(kept_true(asking, until))
            for name, port in (("web-1", 81), ("web-2", 82)):
                await asyncio.sleep(0)
                store.put(service(name, port))
            store.delete("Service", "default", "web-0")
            return await asyncio.wait_for(following, 20), until, plan

    held, until, plan = asyncio.run(run())
    assert set(held.items()) == until, plan
