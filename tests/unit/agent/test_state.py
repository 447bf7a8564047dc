"""What the state marks, and what it leaves alone."""

import logging

from harness.objects import node, service, slice_of
from kcompile.agent.record import Record
from kcompile.agent.state import State
from kcompile.errors import SpecError
from kcompile.spec.objects import Conditions

HEADLESS, OTHER = "service.kubernetes.io/headless", "service.kubernetes.io/service-proxy-name"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def made(node_name="node-a"):
    record = Record()
    state = State(("Service", "EndpointSlice"), record, lambda: None, logging.Logger("agent"), node_name)
    return state, record


def marked(state):
    batch = state.take()
    return set(batch.services), set(batch.whole)


def test_only_what_makes_rules_marks():
    state, record = made()
    web = service("web", "10.96.0.1")
    state.listed("Service", [web])
    assert not state.ready
    state.listed("EndpointSlice", [slice_of("web", "10.244.0.1")])
    assert state.ready
    assert marked(state) == ({"shop/web"}, set())
    assert web.spec.cluster_ips == ["10.96.0.1"]
    web.spec.selector = {"app": "web"}
    web.metadata.labels = {"team": "a"}
    again = slice_of("web", "10.244.0.1", zone="a", hostname="web-0")
    state.put("Service", web)
    state.put("EndpointSlice", again)
    state.listed("EndpointSlice", [again])
    assert not state.marked
    assert record.pending_seconds is not None  # nobody has synced the first ones
    again.endpoints[0].conditions = Conditions(ready=False)
    state.put("EndpointSlice", again)
    assert marked(state) == ({"shop/web"}, set())


def test_what_leaves_the_filters_is_gone():
    state, _ = made()
    web, item = service("web", "10.96.0.1"), slice_of("web", "10.244.0.1")
    for kind, thing in (("Service", web), ("EndpointSlice", item)):
        for label in (OTHER, HEADLESS):
            labels = dict(thing.metadata.labels or {})
            state.put(kind, thing)
            state.take()
            thing.metadata.labels = labels | {label: ""}
            state.put(kind, thing)
            assert state.marked == (kind == "EndpointSlice" or label == OTHER)
            thing.metadata.labels = labels
    state.put("Service", web)
    state.put("EndpointSlice", item)
    web.spec.cluster_ip, web.spec.cluster_ips = "None", ["None"]
    state.put("Service", web)
    assert state.take().services["shop/web"].service is None
    item.metadata.labels["kubernetes.io/service-name"] = "api"  # it moves to another Service
    state.put("EndpointSlice", item)
    batch = state.take()
    assert {name: len(given.slices) for name, given in batch.services.items()} == {
        "shop/web": 0,
        "shop/api": 1,
    }
    state.listed("EndpointSlice", [])
    assert marked(state) == ({"shop/api"}, set())


def test_the_own_node_alone_concerns_everything():
    state, record = made()
    state.put("Node", node("node-b", "192.0.2.2"))
    assert not state.marked
    state.put("Node", node("node-a", "192.0.2.1"))
    assert marked(state) == (set(), {"Node"})
    state.put("Node", node("node-a", "192.0.2.1"))
    assert not state.marked
    assert record.node_eligible
    state.gone("Node", "", "node-a")
    assert marked(state) == (set(), {"Node"})
    assert not record.node_eligible


def test_what_cannot_be_read_keeps_what_is_held_and_is_said_until_it_can():
    state, record = made()
    state.listed("Service", [service("web", "10.96.0.1")])
    state.listed("EndpointSlice", [slice_of("web", "10.244.0.1")])
    state.take()
    state.bad("EndpointSlice", "shop", "web-x", SpecError("not a slice"))
    assert record.errors["shop/web"][0] == "not a slice"
    state.listed("EndpointSlice", [], unreadable=[("shop", "web-x")])
    assert not state.marked
    assert "shop/web" in state.take().unreadable
    state.put("EndpointSlice", slice_of("web", "10.244.0.1"))
    batch = state.take()
    assert (set(batch.services), batch.unreadable) == ({"shop/web"}, frozenset())


def test_a_change_has_the_time_at_which_the_cluster_changed():
    state, record = made()
    item = slice_of("web", "10.244.0.1")
    item.metadata.annotations = {TRIGGER: "2001-01-01T00:00:00Z"}
    state.put("EndpointSlice", item)
    later = slice_of("web", "10.244.0.2")
    later.metadata.annotations = {TRIGGER: "2999-01-01T00:00:00.123456789Z"}
    state.put("EndpointSlice", later)
    batch = state.take()
    assert [int(moment) for moment in batch.triggers] == [32472144000]
    assert batch.oldest <= batch.taken
    assert record.counts.events == {"EndpointSlice": 2}
