"""What a real API server (Kubernetes 1.36) sent: lists, pages, streamed lists, watches,
faults.
"""

from __future__ import annotations

import random

import msgspec
import pytest

from kcompile.agent.source import Kind

from .following import QUICK, called, follow
from .raw_server import Answer, Asked, status, transcript
from .sink import Held

SERVICES = {"default/dead", "default/kubernetes", "default/web", "rec/a", "rec/b1", "rec/b2", "rec/b3"}
STREAMED = transcript("watchlist-sendInitialEvents")
LISTED = STREAMED._replace(chunks=STREAMED.chunks[:9])  # eight Services and the bookmark after them
EXPIRED = transcript("watch-rv1-after-apiserver-restart")
NO_STREAMS = status(422, 'ListOptions.meta.k8s.io "" is invalid')


def watched_again(_: Held, asked: list[Asked]) -> bool:
    """The transcript has ended in order, and the watch is asked for again."""
    return bool(asked) and asked[-1].query.get("resourceVersion") == "138"


def test_a_streamed_list_goes_on_as_a_watch():
    held, asked = follow("Service", [STREAMED], watched_again)
    assert held.calls == ["listed Service 8", "put rec/a", "gone rec/b0", "put rec/c0"]
    assert set(held.objects["Service"]) == SERVICES | {"rec/c0"}
    first, second = asked
    assert first.query | {"timeoutSeconds": ""} == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "labelSelector": "!service.kubernetes.io/service-proxy-name",
        "fieldSelector": "spec.clusterIP!=None",
        "timeoutSeconds": "",
    }
    assert 300 <= int(first.query["timeoutSeconds"]) <= 600
    assert "resourceVersionMatch" not in second.query
    assert first.headers["accept-encoding"] == "identity"


def test_pages_where_streams_are_refused_and_an_expired_continue_begins_again():
    answers = [
        NO_STREAMS,
        transcript("list-page1"),
        transcript("list-page2-continue-token-compacted-and-restarted"),
        transcript("list-page1"),
        transcript("list-all"),
        transcript("watch-from-list-rv"),
    ]
    held, asked = follow("Service", answers, watched_again)
    assert held.calls[0] == "listed Service 8"
    assert held.errors == []
    assert set(held.objects["Service"]) == SERVICES | {"rec/c0"}
    pages = [each for each in asked if not each.is_watch]
    assert [("continue" in each.query) for each in pages] == [False, True, False, True]
    assert all(each.query["limit"] == "500" and each.headers["accept-encoding"] == "gzip" for each in pages)
    assert asked[5].query["resourceVersion"] == "130"


@pytest.mark.parametrize("seed", range(10))
def test_the_same_bytes_in_other_chunks(seed: int):
    rng = random.Random(seed)
    whole = b"".join(STREAMED.chunks)
    cuts = sorted(rng.randrange(len(whole)) for _ in range(rng.randint(1, 40)))
    chunks = [whole[low:high] for low, high in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    answer = Answer([chunk for chunk in chunks if chunk])
    held, _ = follow("Service", [answer], watched_again)
    assert held.calls == ["listed Service 8", "put rec/a", "gone rec/b0", "put rec/c0"]


def test_an_object_that_leaves_the_selector_is_gone_and_comes_back():
    answers = [NO_STREAMS, Answer([b'{"metadata":{"resourceVersion":"130"},"items":null}'])]
    held, asked = follow(
        "EndpointSlice", [*answers, transcript("watch-slices-with-selector")], called("gone rec/a-1", 2)
    )
    assert held.calls == [
        "listed EndpointSlice 0", "put rec/a-1", "gone rec/a-1", "put rec/a-1", "gone rec/a-1",
    ]  # fmt: skip
    selector = "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name"
    assert {each.query["labelSelector"] for each in asked} == {selector}


@pytest.mark.parametrize(
    ("kind", "answers", "name"),
    [
        ("Node", [transcript("watch-nodes-by-name-watchlist")], "/node-a"),
        ("Node", [NO_STREAMS, transcript("list-node-by-name")], "/node-a"),
        ("ServiceCIDR", [NO_STREAMS, transcript("list-servicecidrs")], "/kubernetes"),
        ("Service", [NO_STREAMS, transcript("list-services-kube-proxy-1.36-selectors")], "default/web"),
    ],
)
def test_other_kinds(kind: Kind, answers: list[Answer], name: str):
    held, asked = follow(kind, answers, lambda held, _: bool(held.calls))
    assert name in held.objects[kind]
    assert asked[0].query.get("fieldSelector") == {
        "Node": "metadata.name=node-a", "Service": "spec.clusterIP!=None"
    }.get(kind)  # fmt: skip
    text = msgspec.json.encode(held.objects[kind][name]).decode()
    assert "managedFields" not in text
    assert "last-applied" not in text


def test_a_version_that_is_too_old_is_an_error_event_in_a_200():
    first = STREAMED._replace(chunks=STREAMED.chunks[:9])
    answers = [
        first,
        transcript("watch-rv1-after-apiserver-restart"),
        STREAMED,
    ]
    held, asked = follow("Service", answers, called("listed Service 8", 2))
    assert [each.query.get("resourceVersion") for each in asked[:3]] == [None, "130", None]
    assert held.errors == []


def test_a_watch_that_is_killed_is_asked_for_again_from_where_it_was():
    first = LISTED._replace(end="cut")
    answers = [first, Answer(end="cut"), transcript("watch-from-list-rv")]
    held, asked = follow("Service", answers, called("put rec/c0"))
    assert [each.query.get("resourceVersion") for each in asked[:3]] == [None, "130", "130"]
    assert held.calls.count("listed Service 8") == 1
    assert held.restarts == 2


def test_silence_ends_a_watch_and_a_second_silence_lists_again():
    """A version from the future, after the server's store was restored: 200 and nothing more."""
    first = STREAMED._replace(chunks=STREAMED.chunks[:9])
    silent = transcript("watch-future-rv", end="hold")
    answers = [first, silent, silent, STREAMED._replace(end="hold")]
    timing = msgspec.structs.replace(QUICK, silence=0.1)
    _, asked = follow("Service", answers, called("listed Service 8", 2), timing)
    assert [each.query.get("resourceVersion") for each in asked[:4]] == [None, "130", "130", None]


def test_a_future_version_refused_lists_again():
    first = STREAMED._replace(chunks=STREAMED.chunks[:9])
    answers = [first, transcript("list-future-rv"), STREAMED._replace(end="hold")]
    _, asked = follow("Service", answers, called("listed Service 8", 2))
    assert [each.query.get("resourceVersion") for each in asked[:3]] == [None, "130", None]


@pytest.mark.parametrize("answer", ["list-unknown-group", "list-unknown-resource"])
def test_an_older_server_has_no_service_cidrs(answer: str):
    later = transcript("list-servicecidrs")
    answers = [transcript(answer), transcript(answer), NO_STREAMS, later]
    held, _ = follow("ServiceCIDR", answers, called("listed ServiceCIDR 1"))
    assert held.calls == ["listed ServiceCIDR 0", "listed ServiceCIDR 1"]


def test_an_older_server_has_no_such_field_selector():
    held, asked = follow(
        "Service",
        [transcript("list-bad-field-selector"), STREAMED],
        called("listed Service 8"),
    )
    assert ["fieldSelector" in each.query for each in asked[:2]] == [True, False]
    assert held.errors == []
