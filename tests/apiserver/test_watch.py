"""Watches: selectors, bookmarks, their end, and many watchers of one store."""

import asyncio
import threading

from harness.apiclient import Client, client
from kcompile.apiserver import Pace, Store, serve

SERVICES = "/api/v1/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def service(name: str = "web", **spec) -> dict:
    meta = {"name": name, "namespace": "default"}
    ports = {"ports": [{"port": 80}], "clusterIP": "10.96.0.9"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports | spec}


def run(work, store: Store, **options):
    """`work(client, store)` beside a server."""

    async def beside():
        async with serve(store, **options) as server, client(server.url) as asking:
            return await asyncio.wait_for(work(asking, store), 30)

    return asyncio.run(beside())


def short(event: tuple[str, dict]) -> tuple[str, str]:
    return event[0], event[1]["metadata"].get("name", "")


def test_entering_and_leaving_a_selector():
    async def work(asking: Client, store: Store):
        path = f"{SERVICES}?watch=1&resourceVersion={store.version}&fieldSelector=spec.clusterIP!%3DNone"
        async with asking.watch(path) as events:
            for spec in ({}, {"clusterIP": "None"}, {"clusterIP": "None", "selector": {"a": "b"}}, {}):
                store.put(service(**spec))
            store.put(service("headless", clusterIP="None"))
            store.delete("Service", "default", "headless")
            store.put(service(selector={"c": "d"}))
            return [await anext(events) for _ in range(4)], store.version

    found, version = run(work, Store())
    assert [kind for kind, _ in found] == ["ADDED", "DELETED", "ADDED", "MODIFIED"]
    left = found[1][1]
    assert (left["spec"]["clusterIP"], left["metadata"]["resourceVersion"]) == ("10.96.0.9", str(version - 5))


def test_a_watch_of_a_namespace_sees_nothing_of_others():
    async def work(asking: Client, store: Store):
        async with asking.watch("/api/v1/namespaces/default/services?watch=true") as events:
            store.put(service("other") | {"metadata": {"name": "other", "namespace": "kube-system"}})
            store.put(service())
            return short(await anext(events))

    assert run(work, Store()) == ("ADDED", "web")


def test_bookmarks_come_in_their_time_and_say_how_far_the_watch_is():
    async def work(asking: Client, store: Store):
        store.put(service())
        store.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        path = f"{SERVICES}?watch=1&allowWatchBookmarks=true&resourceVersion={store.version}"
        future = await asking.events(path.replace(f"={store.version}", f"={store.version + 1}"), 0)
        return await asking.events(path, 2), future, store.version

    events, _, version = run(work, Store(), pace=Pace(bookmarks=0.01))
    assert [kind for kind, _ in events] == ["BOOKMARK"] * 2
    assert events[0][1]["metadata"] == {"resourceVersion": str(version)}


def test_without_bookmarks_there_are_none_and_a_watch_ends_after_its_seconds():
    async def work(asking: Client, _: Store):
        async def whole(more: str) -> list[str]:
            async with asking.watch(f"{SERVICES}?watch=1&timeoutSeconds=1{more}") as events:
                return [kind async for kind, _ in events]

        return await asyncio.gather(whole(""), whole("&allowWatchBookmarks=true"))

    plain, with_bookmarks = run(work, Store(), pace=Pace(bookmarks=0.4))
    assert plain == []
    assert set(with_bookmarks) == {"BOOKMARK"}


def test_initial_events_or_none_of_them():
    async def work(asking: Client, store: Store):
        store.put(service())
        match = "watch=1&resourceVersionMatch=NotOlderThan"
        first = await asking.events(f"{SERVICES}?{match}&sendInitialEvents=true", 1)
        future = await asking.events(f"{SERVICES}?{match}&sendInitialEvents=true&resourceVersion=99", 1)
        async with asking.watch(f"{SERVICES}?{match}&sendInitialEvents=false") as events:
            store.put(service("later"))
            return [*first, *future, await anext(events)]

    first, future, later = run(work, Store())
    assert [short(first), short(later)] == [("ADDED", "web"), ("ADDED", "later")]
    assert (future[0], future[1]["code"]) == ("ERROR", 504)


def test_who_reads_too_late_has_its_watch_ended_and_is_told_410_next():
    async def work(asking: Client, store: Store):
        start = store.version
        path = f"{SERVICES}?watch=1&resourceVersion={start}"
        async with asking.watch(path) as events:
            with store.lock:  # its watcher can't read meanwhile
                store.put(service())
                store.compact()
            late = [short(event) async for event in events]
        return late, await asking.events(path, 1)

    late, again = run(work, Store())
    assert late == []
    assert (again[0][0], again[0][1]["code"]) == ("ERROR", 410)


def test_writes_from_another_thread_reach_every_watcher_in_order():
    async def work(asking: Client, store: Store):
        count, watchers = 200, 10

        def write():
            for number in range(count):
                store.put(service(f"s{number}"))

        path = f"{SERVICES}?watch=1&resourceVersion={store.version}"
        following = [asyncio.create_task(asking.events(path, count)) for _ in range(watchers)]
        writer = threading.Thread(target=write)
        writer.start()
        found = await asyncio.gather(*following)
        writer.join()
        return found

    found = run(work, Store())
    assert [[short(event) for event in events] for events in found] == [
        [("ADDED", f"s{number}") for number in range(200)]
    ] * 10


def test_an_event_is_encoded_once_for_all():
    store = Store()
    store.put(service())
    event = next(c for c in store._collections.values() if c.resource.kind == "Service").history[-1]
    assert event.line("ADDED") is event.line("ADDED")
    assert event.line("MODIFIED").startswith(
        b'{"type":"MODIFIED","object":{"kind":"Service","apiVersion":"v1",'
    )


def test_the_servers_end_ends_its_watches_cleanly():
    async def ends():
        store = Store()
        async with client("http://127.0.0.1") as _:
            pass
        async with serve(store) as server:
            asking_ends = asyncio.Event()

            async def follow():
                async with client(server.url) as asking, asking.watch(f"{SERVICES}?watch=1") as events:
                    asking_ends.set()
                    return [short(event) async for event in events]

            following = asyncio.create_task(follow())
            await asking_ends.wait()
        return await following

    assert asyncio.run(ends()) == []


def test_a_bookmark_is_an_empty_object_of_its_kind():
    match = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    fields = {
        "nodes": {"spec", "status"},
        "services": {"spec", "status"},
        "endpoints": set(),
        "pods": {"spec", "status"},
    }

    async def work(asking: Client, _: Store):
        return [await asking.events(f"/api/v1/{plural}?watch=1&{match}", 1) for plural in fields]

    for ((sort, obj),), more in zip(run(work, Store()), fields.values(), strict=True):
        assert (sort, set(obj)) == ("BOOKMARK", {"kind", "apiVersion", "metadata"} | more)
        assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
