"""How many Pods each ReplicaSet of a Deployment is to have: the arithmetic alone."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.lab.controllers.deployment import decide
from kcompile.lab.controllers.numbers import scaled, template_hash
from kcompile.lab.controllers.revisions import annotated, cleanup, matching, new_replica_set
from kcompile.lab.controllers.rollout import State, rolling_targets, scaling_targets

NUMBERS = itertools.count()


def deployment(replicas: int, surge="25%", unavailable="25%", **spec) -> dict:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            **spec,
        },
    }


def replica_set(size: int, available: int | None = None, noted: int | None = None, highest: int = 0) -> dict:
    """`noted`: the Deployment's size that it was last scaled for."""
    number = next(NUMBERS)
    notes = {} if noted is None else {"deployment.kubernetes.io/desired-replicas": str(noted)}
    if highest:
        notes["deployment.kubernetes.io/max-replicas"] = str(highest)
    return {
        "metadata": {
            "name": f"web-{number}",
            "uid": str(number),
            "creationTimestamp": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
            "annotations": notes,
        },
        "spec": {"replicas": size, "template": {"spec": {}}},
        "status": {"replicas": size, "availableReplicas": size if available is None else available},
    }


def sizes(state: State, targets) -> list[int]:
    """The size of each ReplicaSet after `targets`, the old ones first."""
    new = {each["metadata"]["uid"]: size for each, size in targets}
    return [new.get(each["metadata"]["uid"], each["spec"]["replicas"]) for each in state.all]


@pytest.mark.parametrize(
    ("value", "whole", "up", "number"),
    [
        (3, 10, True, 3),
        ("25%", 10, True, 3),
        ("25%", 10, False, 2),
        ("100%", 3, False, 3),
        ("0%", 5, True, 0),
    ],
)
def test_numbers_and_percentages(value, whole, up, number):
    assert scaled(value, whole, up=up) == number


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "bounds"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (4, "0%", "1%", (0, 1)),
        (2, 1, 5, (1, 2)),
    ],
)
def test_bounds(replicas, surge, unavailable, bounds):
    assert State(deployment(replicas, surge, unavailable), None, []).bounds == bounds


@pytest.mark.parametrize(
    ("old", "new", "after"),
    [
        ([(10, 10)], (0, 0), [10, 3]),  # up to the surge first
        ([(10, 10)], (3, 0), [8, 3]),  # then down to what has to be available
        ([(8, 8)], (3, 3), [8, 5]),
        ([(8, 8)], (5, 3), [5, 5]),  # by as many as there are available ones to spare
        ([(5, 5)], (5, 3), [5, 8]),
        ([(5, 5)], (8, 3), [5, 8]),  # nothing more until new ones are available
        ([(10, 5)], (3, 0), [8, 3]),  # old ones that aren't available go first
        ([(6, 0), (4, 4)], (0, 0), [6, 4, 3]),
        ([(6, 0), (4, 4)], (3, 3), [1, 4, 3]),
        ([(0, 0)], (10, 10), [0, 10]),
    ],
)
def test_steps_of_a_rolling_update(old, new, after):
    state = State(deployment(10), replica_set(*new), [replica_set(*each) for each in old])
    assert sizes(state, rolling_targets(state)) == after


@given(
    replicas=st.integers(1, 12),
    surge=st.integers(0, 5),
    unavailable=st.integers(0, 5),
    order=st.lists(st.integers(0, 3), min_size=80, max_size=80),
)
@settings(max_examples=60, deadline=None)
def test_a_rolling_update_ends_and_keeps_its_bounds(replicas, surge, unavailable, order):
    """Whatever comes first: a step of the controller, or a Pod that becomes available."""
    old_set, new_set = replica_set(replicas), replica_set(0)
    for choice in [*order, *([0, 1] * 100)]:
        state = State(deployment(replicas, surge, unavailable), new_set, [old_set])
        if choice == 0:
            for each, size in rolling_targets(state):
                each["spec"]["replicas"] = size
        for each in (old_set, new_set):
            wanted, status = each["spec"]["replicas"], each["status"]
            if choice == 2 or wanted < status["replicas"]:
                status["replicas"] = wanted
                status["availableReplicas"] = min(status["availableReplicas"], wanted)
            elif choice == 1:
                status["replicas"] = wanted
                status["availableReplicas"] = min(status["availableReplicas"] + 1, wanted)
        assert state.total("availableReplicas") >= state.lowest
        assert sum(each["spec"]["replicas"] for each in state.all) <= state.highest
    assert (old_set["spec"]["replicas"], new_set["spec"]["replicas"]) == (0, replicas)


@pytest.mark.parametrize(
    ("old", "new", "replicas", "after"),
    [
        ([], (3, 3, 3, 4), 5, [5]),
        ([(0, 0)], (3, 3, 3, 4), 0, [0, 0]),
        ([(8, 8, 10, 13)], (5, 5, 10, 13), 20, [15, 10]),  # in proportion
        ([(8, 8, 10, 13)], (5, 5, 10, 13), 5, [4, 3]),
        ([(2, 2, 5, 7)], (5, 5, 5, 7), 5, [0, 5]),  # the new one has all of them
    ],
)
def test_scaling_amid_a_rollout(old, new, replicas, after):
    state = State(deployment(replicas), replica_set(*new), [replica_set(*each) for each in old])
    assert sizes(state, scaling_targets(state)) == after


def test_a_template_finds_its_replica_set_whatever_the_labels_say():
    owner = deployment(3)
    made = new_replica_set(owner, [], 3, 4)
    made["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": "1"}
    assert made["spec"]["selector"]["matchLabels"]["pod-template-hash"] in made["metadata"]["name"]
    assert matching(owner, [made]) is made
    owner["spec"]["template"] = {"spec": {"containers": [{"name": "other"}]}}
    assert matching(owner, [made]) is None


def test_a_hash_that_is_taken_counts_a_collision():
    owner = deployment(1)
    assert template_hash(owner["spec"]["template"], 0) != template_hash(owner["spec"]["template"], 1)
    taken = new_replica_set(owner, [], 1, 2) | {"status": {}}
    taken["metadata"] |= {"creationTimestamp": "2026-01-01T00:00:00Z", "uid": "1"}
    taken["spec"]["template"] = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{}]}}
    (write,) = decide(owner, [taken], [], 0)
    assert write.obj["status"]["collisionCount"] == 1


def test_annotations_follow_the_deployment_except_for_its_own():
    owner = deployment(1)
    owner["metadata"]["annotations"] = {"note": "1", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    notes = annotated(owner, replica_set(1), [])["metadata"]["annotations"]
    assert notes == {"note": "1", "deployment.kubernetes.io/revision": "1"}


def test_only_empty_replica_sets_beyond_the_limit_go():
    owner = deployment(1, revisionHistoryLimit=1)
    old = [replica_set(size) for size in (0, 0, 1)]
    for number, each in enumerate(old):
        each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = str(number)
        each["status"]["observedGeneration"] = 1
    gone = [write.obj["metadata"]["name"] for write in cleanup(owner, old)]
    assert gone == [old[0]["metadata"]["name"], old[1]["metadata"]["name"]]
