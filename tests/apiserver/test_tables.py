"""What kubectl prints of objects: ages, states of Pods, addresses."""

from datetime import UTC, datetime, timedelta

import pytest

from kcompile.apiserver.resources import RESOURCES
from kcompile.apiserver.tables.columns import KINDS
from kcompile.apiserver.tables.text import age, first_of, selector, span


def test_every_kind_has_columns_for_its_cells():
    assert set(KINDS) == {each.kind for each in RESOURCES}
    for kind, columns in KINDS.items():
        cells = columns.cells({"metadata": {"name": "a"}, "spec": {}, "status": {}})
        assert len(cells) == len(columns.definitions), kind
        assert "a" in cells, kind


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-0.5, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"),
        (10_800, "3h"),
        (10_860, "3h1m"), (28_800, "8h"), (172_800, "2d"), (176_400, "2d1h"), (691_200, "8d"),
        (63_072_000, "2y"), (63_158_400, "2y1d"), (252_288_000, "8y"),
    ],
)  # fmt: skip
def test_a_time_span(seconds, text):
    assert span(seconds) == text


def test_an_age_is_up_to_now():
    assert age((datetime.now(UTC) - timedelta(minutes=7)).strftime("%Y-%m-%dT%H:%M:%SZ")).startswith("7m")
    assert age(None) == "<unknown>"


def test_lists_and_selectors():
    assert first_of(["a", "b", "c", "d"]) == "a,b,c + 1 more..."
    expressions = [
        {"key": "b", "operator": "In", "values": ["2", "1"]},
        {"key": "c", "operator": "DoesNotExist"},
        {"key": "d", "operator": "Exists"},
    ]
    assert selector({"matchLabels": {"a": "x"}, "matchExpressions": expressions}) == "a=x,b in (1,2),!c,d"


def state(name: str = "main", ready: bool = False, restarts: int = 0, **what) -> dict:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": what}


RUNNING, DONE = {"running": {}}, {"terminated": {"exitCode": 0, "reason": "Completed"}}
READY = [{"type": "Ready", "status": "True"}]
PODS = [
    ({"phase": "Pending"}, "0/1", "Pending"),
    ({"phase": "Running", "containerStatuses": [state(ready=True, **RUNNING)]}, "1/1", "Running"),
    (
        {"phase": "Running", "containerStatuses": [state(waiting={"reason": "CrashLoopBackOff"})]},
        "0/1",
        "CrashLoopBackOff",
    ),
    ({"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 3})]}, "0/1", "ExitCode:3"),
    (
        {"phase": "Failed", "containerStatuses": [state(terminated={"exitCode": 137, "signal": 9})]},
        "0/1",
        "Signal:9",
    ),
    ({"phase": "Succeeded", "containerStatuses": [state(**DONE)]}, "0/1", "Completed"),
    (
        {"phase": "Running", "containerStatuses": [state("a", True, **RUNNING), state("b", **DONE)]},
        "1/1",
        "NotReady",
    ),
    (
        {
            "phase": "Running",
            "conditions": READY,
            "containerStatuses": [state("a", True, **RUNNING), state("b", **DONE)],
        },
        "1/1",
        "Running",
    ),
    ({"phase": "Pending", "initContainerStatuses": [state("first", **RUNNING)]}, "0/1", "Init:0/1"),
    (
        {"phase": "Pending", "initContainerStatuses": [state("first", terminated={"exitCode": 1})]},
        "0/1",
        "Init:ExitCode:1",
    ),
    ({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted"),
]


@pytest.mark.parametrize(("status", "ready", "shown"), PODS, ids=[row[2] for row in PODS])
def test_the_state_of_a_pod(status, ready, shown):
    spec = {"containers": [{"name": "main"}], "initContainers": [{"name": "first"}]}
    cells = KINDS["Pod"].cells({"metadata": {"name": "p"}, "spec": spec, "status": status})
    assert cells[1:3] == [ready, shown]


def test_a_pod_that_restarted_and_is_being_deleted():
    ended = (datetime.now(UTC) - timedelta(seconds=300)).strftime("%Y-%m-%dT%H:%M:%SZ")
    last = state(ready=True, restarts=4, **RUNNING) | {"lastState": {"terminated": {"finishedAt": ended}}}
    meta = {"name": "p", "deletionTimestamp": ended}
    pod = {
        "metadata": meta,
        "spec": {"containers": [{}]},
        "status": {"phase": "Running", "containerStatuses": [last]},
    }
    cells = KINDS["Pod"].cells(pod)
    assert cells[2] == "Terminating"
    assert cells[3].startswith("4 (5m")


@pytest.mark.parametrize(
    ("spec", "ingress", "shown"),
    [
        ({"type": "ClusterIP"}, [], "<none>"),
        ({"type": "NodePort", "externalIPs": ["192.0.2.1", "192.0.2.2"]}, [], "192.0.2.1,192.0.2.2"),
        ({"type": "LoadBalancer"}, [], "<pending>"),
        (
            {"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]},
            [{"ip": "198.51.100.1"}],
            "198.51.100.1,192.0.2.1",
        ),
        ({"type": "LoadBalancer"}, [{"hostname": "lb.example.com"}], "lb.example.com"),
        ({"type": "ExternalName", "externalName": "example.com"}, [], "example.com"),
    ],
)
def test_how_a_service_is_reached_from_outside(spec, ingress, shown):
    status = {"loadBalancer": {"ingress": ingress}}
    assert KINDS["Service"].cells({"metadata": {"name": "s"}, "spec": spec, "status": status})[3] == shown
