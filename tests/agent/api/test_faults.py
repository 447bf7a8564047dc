"""What goes wrong with an API server, one fault at a time: what is asked next, and what the sink is told."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kcompile.agent.api.backoff import Backoff, Timing
from kcompile.agent.api.connection import connect
from kcompile.agent.api.server import ApiSource
from kcompile.agent.api.watches import Lines
from kcompile.errors import ApiError

from .following import QUICK, SERVICE, called, follow, kubeconfig, script, stream
from .raw_server import Answer, body, event, hold, serving, status, transcript
from .sink import Held

NO_STREAMS = status(422, 'ListOptions.meta.k8s.io "" is invalid')
NOTHING = stream()


def service(name: str, version: int, **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "n", "resourceVersion": str(version)}
    return {"metadata": meta, **SERVICE, "spec": {**SERVICE["spec"], **spec}}


def test_duplicates_and_older_versions_change_nothing():
    events = [
        event("ADDED", service("a", 101)),
        event("ADDED", service("a", 101)),
        event("MODIFIED", service("a", 105, clusterIP="10.96.0.5")),
        event("MODIFIED", service("a", 103, clusterIP="10.96.0.3")),
        event("DELETED", service("a", 104)),
        event("MODIFIED", service("b", 107)),  # never ADDED
        event("DELETED", service("b", 110)),
        event("DELETED", service("b", 110)),
        event("ADDED", service("b", 108)),  # overtaken by its deletion
        event("DELETED", service("nobody", 111)),
        event("ADDED", service("b", 112)),
        event("ADDED", service("last", 113)),
    ]
    answers = [stream()._replace(end="clean"), hold(*events)]
    held, _ = follow("Service", answers, called("put n/last"))
    assert held.calls == [
        "listed Service 0", "put n/a", "put n/a", "put n/b", "gone n/b", "put n/b", "put n/last",
    ]  # fmt: skip
    assert held.objects["Service"]["n/a"].spec.cluster_ip == "10.96.0.5"  # type: ignore[attr-defined]


def test_a_bad_object_costs_only_itself():
    good, bad = service("a", 101), service("a", 102, ports=[{"port": "http"}])
    nulls = service("c", 100, ports=None, externalIPs=None, type=None)
    page = {"metadata": {"resourceVersion": "100"}, "items": [service("b", 99), nulls]}
    events = [event("MODIFIED", item) for item in (good, bad, service("d", 103), service("a", 104))]
    unnamed = event("ADDED", {"metadata": {"name": 7}, "spec": 7})
    answers = [NO_STREAMS, body(page), hold(*events[:2], unnamed, *events[2:])]
    held, _ = follow("Service", answers, called("put n/a", 2))
    assert held.calls == [
        "listed Service 2", "put n/a", "bad Service n/a", "bad Service /", "put n/d", "put n/a",
    ]  # fmt: skip
    where = "API server: Service n/a: spec.ports[0].port"
    assert held.errors[0] == f'{where}: must be an integer, got a string ("http")'


def test_a_bad_object_in_a_list_keeps_its_last_good_version():
    bad = service("a", 120, type=5)
    first = stream(service("a", 99))._replace(end="clean")
    answers = [
        first,
        transcript("watch-rv1-after-apiserver-restart"),
        stream(bad, service("b", 121), version="121"),
    ]
    held, _ = follow("Service", answers, called("listed Service 2"))
    assert held.calls == ["listed Service 1", "bad Service n/a", "listed Service 2"]
    assert set(held.objects["Service"]) == {"n/a", "n/b"}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (status(500, "etcd is slow"), "500 etcd is slow"),
        (status(403, "services is forbidden"), "list of services: 403 services is forbidden"),
        (transcript("list-bad-token"), "401 Unauthorized"),
        (Answer([b"<html>nginx"], "HTTP/1.1 502 Bad"), "502 <html>nginx"),
        (Answer([b'{"metadata": {}, "items'], end="clean"), "the answer can't be read"),
        (Answer([b'{"metadata": {}, "items'], end="cut"), "list of services: "),
    ],
)
def test_a_list_that_fails_is_tried_again(answer: Answer, says: str):
    page = body({"metadata": {"resourceVersion": "100"}, "items": [service("a", 99)]})
    answers = [NO_STREAMS, answer, *([answer] if "401" in answer.status else []), page]
    held, asked = follow("Service", answers, called("recovered Service"))
    assert held.calls == ["failed Service", "listed Service 1", "recovered Service"]
    assert says in held.errors[0]
    assert held.errors[0].startswith("http://127.0.0.1:") or "can't be read" in says
    assert all("\n" not in each for each in held.errors)
    assert not asked[1].is_watch


@pytest.mark.parametrize("fault", ["", '{"type":"ADDED","object":{"met'])
def test_a_streamed_list_that_breaks_off_is_asked_for_in_pages(fault: str):
    page = body({"metadata": {"resourceVersion": "100"}, "items": [service("a", 99)]})
    broken = Answer([fault.encode()] if fault else [], end="cut")
    held, asked = follow("Service", [broken, page, hold()], called("listed Service 1"))
    assert [each.is_watch for each in asked[:2]] == [True, False]
    assert held.calls[:2] == ["failed Service", "listed Service 1"]


def test_events_that_say_error_wait_and_go_on_from_the_same_version():
    slow = event("ERROR", {"kind": "Status", "message": "etcd", "code": 500})
    answers = [
        stream(service("a", 99))._replace(end="clean"),
        Answer([event("ADDED", service("b", 101)), slow]),
        Answer([b'{"type":"OTHER","object":{}}\n']),
        hold(event("ADDED", service("c", 102))),
    ]
    held, asked = follow("Service", answers, called("put n/c"))
    assert [each.query.get("resourceVersion") for each in asked[:4]] == [None, "100", "101", "101"]
    assert held.calls.count("failed Service") == 2


def test_a_watch_that_ends_at_once_is_a_failure():
    ended = Answer([])
    answers = [stream(service("a", 99))._replace(end="clean"), ended, ended, hold()]
    held, _ = follow("Service", answers, called("recovered Service"))
    assert held.calls[:2] == ["listed Service 1", "failed Service"]


def test_an_endless_event_is_an_error():
    lines = Lines()
    assert lines.feed(b"a\n\nb") == [b"a"]
    assert lines.feed(b"c") == []
    assert lines.feed(b"\n") == [b"bc"]
    with pytest.raises(ApiError, match="more than"):
        lines.feed(b"x" * (33 << 20))


def test_retry_after_is_obeyed():
    """In the answer's header and in the Status of an ERROR event."""
    rng = random.Random(3)
    backoff = Backoff(Timing(), rng)
    assert 7 <= backoff.pause(retry_after=7) <= 8
    assert 300 <= backoff.pause(retry_after=86400) <= 301
    asked_to = status(429, "slow down", Retry_After="1")
    page = body({"metadata": {"resourceVersion": "100"}, "items": []})
    held, _ = follow("Service", [NO_STREAMS, asked_to, page], called("listed Service 0"))
    assert "429 slow down" in held.errors[0]


def test_pauses_grow_from_the_shortest_to_the_longest_and_begin_again():
    for seed in range(50):
        backoff = Backoff(Timing(), random.Random(seed))
        pauses = [backoff.pause() for _ in range(8)]
        assert all(0.8 <= pause <= 30 for pause in pauses)
        assert pauses[0] <= 1.6
        assert pauses[-1] >= 15
        assert backoff.pause(worked=10) >= 15
        assert backoff.pause(worked=30) <= 1.6


def test_nobody_listens_and_then_somebody_does(tmp_path: Path):
    async def main() -> Held:
        held = Held()
        async with serving(script(NOTHING)) as first:
            port = first.port
        path = tmp_path / "config"
        path.write_text(kubeconfig(f"http://127.0.0.1:{port}"))
        source = ApiSource(connect(str(path)), "node-a", timing=QUICK, seed=1)
        task = asyncio.create_task(source.run(held))
        await held.until(lambda: {f"failed {kind}" for kind in source.kinds} <= set(held.calls))
        async with serving(lambda _: NOTHING, port=port):
            await held.until(lambda: {f"listed {kind} 0" for kind in source.kinds} <= set(held.calls))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return held

    held = asyncio.run(main())
    assert "Connection refused" in held.errors[0]
    assert set(held.objects) == {"Service", "EndpointSlice", "Node", "ServiceCIDR"}


def test_a_page_of_html_is_no_api_server():
    page = Answer([b"<html>Sign in"], headers=["Content-Type: text/html"])
    held, asked = follow("Service", lambda _: page, called("failed Service", 3))
    assert {error.partition(": watch")[2] for error in held.errors} == {
        " of services: text/html instead of JSON: no API server"
    }
    assert all(each.is_watch for each in asked)


def test_a_refusal_without_an_end_is_given_up():
    endless = status(500, "etcd")._replace(end="hold")
    timing = msgspec.structs.replace(QUICK, answer=0.2)
    held, _ = follow("Service", [endless, stream()], called("listed Service 0"), timing)
    assert "watch of services: " in held.errors[0]


def test_a_watch_that_drips_is_silent():
    drip = Answer([b"{" for _ in range(3)], end="hold")
    timing = msgspec.structs.replace(QUICK, silence=0.1)
    first = stream(service("a", 99))._replace(end="clean")
    held, asked = follow(
        "Service", [first, drip, hold(event("ADDED", service("b", 101)))], called("put n/b"), timing
    )
    assert asked[2].query["resourceVersion"] == "100"
    assert held.errors == []
