"""Our server beside a real one (1.36.2): the same requests over the same objects, answer by answer."""

import asyncio
from collections.abc import Iterable
from contextlib import asynccontextmanager

import pytest

from harness.apiclient import Answer, Client, client
from harness.transcripts import Exchange, read
from kcompile.apiserver import Store, serve

TRANSCRIPTS = read()
LISTWATCH, EXPIRED, STARTUP = (TRANSCRIPTS.of(file) for file in ("listwatch", "expired", "startup"))
BEFORE = 130  # the version at which the first recording's lists were asked
TOKEN = "recorded"
NAMESPACES = [
    {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, "resourceVersion": version}}
    for name, version in (("default", "2"), ("rec", "114"))
]
GONE = {"Service rec/b0": 135, "EndpointSlice rec/a-1": 139}
"""When these were deleted."""
OTHER_WORDS = {
    "version": "ours says that it is ours",
    "list-bad-continue": "the reason is that of Go's JSON",
    "create-service-invalid": "one cause, in other words",
}
"""Bodies that differ on purpose."""


def existing(until: int) -> list[dict]:
    """The objects as they were at a version."""
    newest: dict[str, str] = {}
    for key in sorted(TRANSCRIPTS.objects, key=version_in):
        if version_in(key) <= until:
            newest[key.partition("@")[0]] = key
    present = [key for name, key in newest.items() if GONE.get(name, until + 1) > until]
    return [*NAMESPACES, *TRANSCRIPTS.existing(*present)]


def version_in(key: str) -> int:
    return int(key.partition("@")[2])


@asynccontextmanager
async def serving(store: Store):
    async with serve(store, token=TOKEN) as server, client(server.url, TOKEN) as asking:
        yield asking


def same(exchange: Exchange, answer: Answer) -> list[object]:
    """What differs between the real answer and ours."""
    theirs, ours = exchange.headers, answer.headers
    names = ["content-type", "retry-after", "cache-control", "x-content-type-options"]
    if exchange.name in OTHER_WORDS:
        if set(exchange.body) != set(answer.body):
            return [exchange.name, exchange.body, answer.body]
    else:
        if answer.status >= 400:
            names.append("content-length")
        if exchange.body != answer.body and exchange.body is not None:
            return [exchange.name, exchange.body, answer.body]
    if exchange.status != answer.status:
        return [exchange.name, exchange.status, answer.status]
    return [(exchange.name, name, theirs.get(name)) for name in names if theirs.get(name) != ours.get(name)]


def test_lists_and_refusals_are_the_real_servers():
    exchanges = [
        each
        for each in LISTWATCH.values()
        if each.method == "GET" and each.events is None and each.name != "list-no-token"
    ]

    async def ask():
        async with serving(Store(existing(BEFORE), version=BEFORE)) as asking:
            for each in exchanges:
                headers = {"Authorization": "Bearer wrong"} if each.name == "list-bad-token" else {}
                yield each, await asking.get(each.path, **headers)

    async def differences():
        return [difference async for each, answer in ask() for difference in same(each, answer)]

    assert len(exchanges) == 22
    assert asyncio.run(differences()) == []


def test_without_a_token_nothing_is_answered():
    async def ask():
        async with serve(Store(), token=TOKEN) as server, client(server.url) as asking:
            return [await asking.get(path) for path in (LISTWATCH["list-no-token"].path, "/readyz")]

    for answer in asyncio.run(ask()):
        assert same(LISTWATCH["list-no-token"], answer) == []


SERVICE = {"metadata": {"name": "a"}, "spec": {"ports": [{"name": "p", "port": 80, "targetPort": 8080}]}}
SLICE = {
    "metadata": {"name": "a-1", "labels": {"kubernetes.io/service-name": "a"}},
    "addressType": "IPv4",
    "endpoints": [
        {"addresses": ["10.244.0.5"], "conditions": {"ready": True}},
        {"addresses": ["10.244.0.6"], "conditions": {"ready": True}},
    ],
    "ports": [{"name": "p", "port": 8080, "protocol": "TCP"}],
}
CREATIONS = {
    "ns": {"metadata": {"name": "rec"}},
    "create-service": SERVICE,
    "create-service-conflict": SERVICE,
    "create-service-invalid": {"metadata": {"name": "Bad_Name"}, "spec": {"ports": []}},
    "create-slice": SLICE,
}


def without_chance(body: dict) -> dict:
    """An object without what each server chooses for itself."""
    own = ("uid", "resourceVersion", "creationTimestamp")
    meta = {name: value for name, value in body["metadata"].items() if name not in own}
    spec = {
        name: value for name, value in (body.get("spec") or {}).items() if not name.startswith("clusterIP")
    }
    return {**body, "metadata": meta, **({"spec": spec} if spec else {})}


def test_creations_are_answered_with_the_same_defaults_and_refusals():
    async def ask():
        async with serving(Store()) as asking:
            return [await asking.ask("POST", LISTWATCH[name].path, body) for name, body in CREATIONS.items()]

    for name, answer in zip(CREATIONS, asyncio.run(ask()), strict=True):
        theirs = LISTWATCH[name]
        if name == "create-service-invalid":
            details = theirs.body["details"]
            assert (answer.status, answer.body["reason"]) == (422, "Invalid")
            assert answer.body["details"]["causes"][0]["field"] == details["causes"][0]["field"]
        else:
            assert (answer.status, without_chance(answer.body)) == (
                theirs.status,
                without_chance(theirs.body),
            )


async def changes(asking: Client, store: Store) -> list[tuple[str, Answer]]:
    """What was done while the recorded watches were open."""
    slices = "/apis/discovery.k8s.io/v1/namespaces/rec/endpointslices"
    service, a = "/api/v1/namespaces/rec/services", store.get("Service", "rec", "a")
    a["spec"]["externalIPs"] = ["192.0.2.77"]
    done = [("update-service-by-merge-patch", await asking.ask("PUT", f"{service}/a", a))]
    first = store.get("EndpointSlice", "rec", "a-1")
    stale = first | {"metadata": first["metadata"] | {"resourceVersion": "1"}}
    done.append(("slice-put-conflict", await asking.ask("PUT", f"{slices}/a-1", stale)))
    fewer = first | {"endpoints": first["endpoints"][:1]}
    done.append(("slice-put", await asking.ask("PUT", f"{slices}/a-1", fewer)))
    labels = first["metadata"]["labels"]
    for name, more in (
        ("slice-gets-headless-label", {"service.kubernetes.io/headless": ""}),
        ("slice-loses-headless-label", {}),
    ):
        current = store.get("EndpointSlice", "rec", "a-1")
        current["metadata"]["labels"] = labels | more
        done.append((name, await asking.ask("PUT", f"{slices}/a-1", current)))
    done.append(("service-delete", await asking.ask("DELETE", f"{service}/b0")))
    done.append(("service-delete-again", await asking.ask("DELETE", f"{service}/b0")))
    store.version = 137  # the real one's allocators wrote twice here
    created = TRANSCRIPTS.existing("Service rec/c0@138")[0]
    created["metadata"] = {"name": "c0"}
    assert (await asking.ask("POST", service, created)).status == 201
    done.append(("slices-deletecollection", await asking.ask("DELETE", slices)))
    return done


def seen(events: Iterable[tuple[str, dict]]) -> list[tuple[str, dict]]:
    """Events without those that come with time, and without what each server chooses for itself."""
    kept = [
        (kind, obj)
        for kind, obj in events
        if kind != "BOOKMARK" or "k8s.io/initial-events-end" in str(obj["metadata"])
    ]
    for _, obj in kept:
        if obj["metadata"].get("name") == "c0":
            obj["metadata"].pop("uid", None)
            obj["metadata"].pop("creationTimestamp", None)
    return kept


def test_watches_see_what_the_real_servers_saw():
    watches = [each for each in LISTWATCH.values() if each.events is not None]
    store = Store(existing(BEFORE), version=BEFORE)

    async def follow(asking: Client, each: Exchange, ready: asyncio.Semaphore) -> list[tuple[str, dict]]:
        """As many events as the real server's watch had; for ever, where that had none."""
        found: list[tuple[str, dict]] = []
        async with asking.watch(each.path) as events:
            ready.release()
            while len(found) < len(seen(each.events)) or not each.events:
                found.append(await anext(events))
        return found

    async def ask():
        ready = asyncio.Semaphore(0)
        async with serve(store, token=TOKEN) as server, client(server.url, TOKEN) as asking:
            following = [asyncio.create_task(follow(asking, each, ready)) for each in watches]
            for _ in following:
                await ready.acquire()
            done = await changes(asking, store)
            await asyncio.wait(following[:-1])
            assert not following[-1].done()
            following[-1].cancel()
        return done, [task.result() for task in following[:-1]]

    watches.sort(key=lambda each: not each.events)  # the one from the future last
    done, found = asyncio.run(ask())
    for each, events in zip(watches, found, strict=False):
        assert seen(events) == seen(each.events or ()), each.name
    assert len(watches) == 8
    for name, answer in done:
        theirs = LISTWATCH[name]
        assert (answer.status, answer.body) == (theirs.status, theirs.body), name


@pytest.mark.parametrize("name", [name for name, each in EXPIRED.items() if each.events is None])
def test_lists_at_a_version_that_is_still_known(name):
    after = name not in ("list-page1-before-compaction",)
    exchange = EXPIRED[name]

    async def ask():
        store = Store(existing(163), version=163)
        if after:
            move_on(store)
        async with serving(store) as asking:
            return await asking.get(exchange.path)

    assert same(exchange, asyncio.run(ask())) == []


def move_on(store: Store) -> None:
    """To version 166, as recorded: the Service rec/a has changed."""
    store.version = 165
    changed = TRANSCRIPTS.existing("Service rec/a@166")[0]
    store.update(changed | {"metadata": changed["metadata"] | {"resourceVersion": ""}})
    assert store.version == 166


def test_watches_from_a_version_that_is_forgotten():
    too_old = EXPIRED["watch-rv1-after-apiserver-restart"]
    from_now = EXPIRED["watchlist-rv1-NotOlderThan-after-restart"]

    async def ask():
        store = Store(existing(163), version=163)
        store.compact(153)
        move_on(store)
        async with serving(store) as asking:
            async with asking.watch(too_old.path) as events:
                refused = [event async for event in events]
            return refused, await asking.events(from_now.path, len(from_now.events))

    refused, events = asyncio.run(ask())
    assert refused == too_old.events
    assert seen(events) == seen(from_now.events)


def test_a_list_after_the_servers_restart():
    exchange = STARTUP["list-after-restart"]

    async def ask():
        async with serving(Store(existing(166), version=169)) as asking:
            return await asking.get(exchange.path)

    assert same(exchange, asyncio.run(ask())) == []


def test_lists_at_a_version_that_is_forgotten():
    names = [name for name in STARTUP if name != "list-after-restart"]

    async def ask():
        store = Store(existing(166), version=185)
        store.compact()
        async with serving(store) as asking:
            return [await asking.get(STARTUP[name].path) for name in names]

    for name, answer in zip(names, asyncio.run(ask()), strict=True):
        assert same(STARTUP[name], answer) == [], name
    assert len(names) == 3
