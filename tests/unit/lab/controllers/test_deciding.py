"""What controllers decide about one object: tables of objects in, writes out."""

from ipaddress import ip_network

import pytest

from harness.controllers import node, service
from kcompile.lab.controllers.daemonset import node_of
from kcompile.lab.controllers.fit import HostPort, matches_node, unfit
from kcompile.lab.controllers.garbage import collected
from kcompile.lab.controllers.indexes import spelled
from kcompile.lab.controllers.loadbalancer import decide as addresses
from kcompile.lab.controllers.neighbours import misplaced
from kcompile.lab.controllers.nodes import decide as of_node
from kcompile.lab.controllers.nodes import tainted
from kcompile.lab.controllers.podgc import surplus
from kcompile.lab.controllers.replicaset import decide as of_replica_set
from kcompile.lab.controllers.replicaset import deletion_order
from kcompile.lab.controllers.scheduler import Place
from kcompile.lab.controllers.scheduler import decide as schedule
from kcompile.lab.controllers.writes import Again, Bind, Create, Delete, Tell, Update, UpdateStatus

NOW = 1_800_000_000.0


def pod(name: str = "p", *, ready: bool = True, on: str = "node-0", phase: str = "Running", **spec) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "web"},
        },
        "spec": {"containers": [{"name": "c"}], **({"nodeName": on} if on else {}), **spec},
        "status": {
            "phase": phase,
            "conditions": [
                {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ],
        },
    }


def kinds(writes) -> list[type]:
    return [type(write) for write in writes]


# --- the scheduler ---

TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def expression(key: str, operator: str, *values: str) -> dict:
    terms = [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({}, True),
        ({"nodeSelector": {"zone": "a"}}, True),
        ({"nodeSelector": {"zone": "b"}}, False),
        (expression("zone", "In", "a", "b"), True),
        (expression("zone", "NotIn", "a"), False),
        (expression("zone", "Exists"), True),
        (expression("zone", "DoesNotExist"), False),
        (expression("size", "Gt", "3"), True),
        (expression("size", "Lt", "3"), False),
    ],
)
def test_node_selectors(spec, fits):
    assert matches_node(spec, node("node-0", zone="a", size="5")) == fits


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ([], False),
        ([{"operator": "Exists"}], True),
        ([{"key": "gpu", "operator": "Exists"}], True),
        ([{"key": "gpu", "value": "yes"}], True),
        ([{"key": "gpu", "value": "no"}], False),
        ([{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}], False),
    ],
)
def test_taints(toleration, fits):
    place = node("node-0") | {"spec": {"taints": [TAINT]}}
    assert (unfit(pod(tolerations=toleration), place, []) == "") == fits


@pytest.mark.parametrize(
    ("wanted", "taken", "clash"),
    [
        (("", "TCP", 80), ("", "TCP", 80), True),
        (("", "TCP", 80), ("", "UDP", 80), False),
        (("10.0.0.1", "TCP", 80), ("10.0.0.2", "TCP", 80), False),
        (("10.0.0.1", "TCP", 80), ("0.0.0.0", "TCP", 80), True),
    ],
)
def test_host_ports(wanted, taken, clash):
    assert HostPort(*wanted).clashes(HostPort(*taken)) == clash


def test_the_emptiest_node_is_chosen():
    places = {
        "a": Place(node("a"), [], 1, 1),
        "b": Place(node("b"), [], 0, 9),
        "c": Place(node("c"), [], 0, 8),
    }
    bind, told = schedule(pod(on=""), places, NOW)
    assert isinstance(bind, Bind)
    assert bind.node == "c"
    assert told.message == "Successfully assigned default/p to c"


def test_why_a_pod_fits_nowhere_is_said_once():
    wants = pod(
        on="", containers=[{"ports": [{"hostPort": 80, "containerPort": 80}]}], nodeSelector={"z": "a"}
    )
    cordoned = node("a") | {"spec": {"unschedulable": True}}
    places = {
        "a": Place(cordoned, [], 0, 0),
        "b": Place(node("b"), [], 0, 0),
        "c": Place(node("c", z="a"), [HostPort("", "TCP", 80)], 0, 0),
    }
    status, told = schedule(wants, places, NOW)
    assert told.message == (
        "0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, "
        "1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable. "
        "preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, "
        "2 Preemption is not helpful for scheduling."
    )
    assert schedule(status.obj, places, NOW) == []
    assert "no nodes available" in schedule(wants, {}, NOW)[1].message


def rule(key: str, **selector: str) -> dict:
    terms = [{"topologyKey": key, "labelSelector": {"matchLabels": selector}}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": terms}


NODES = {
    "a1": {"zone": "a", "host": "a1"},
    "a2": {"zone": "a", "host": "a2"},
    "b1": {"zone": "b", "host": "b1"},
    "x": {},
}
THERE = [pod("one", on="a1")]


@pytest.mark.parametrize(
    ("spec", "others", "away"),
    [
        ({}, THERE, set()),
        ({"affinity": {"podAntiAffinity": rule("host", app="web")}}, THERE, {"a1"}),
        ({"affinity": {"podAntiAffinity": rule("zone", app="web")}}, THERE, {"a1", "a2"}),
        ({"affinity": {"podAntiAffinity": rule("zone", app="other")}}, THERE, set()),
        ({"affinity": {"podAffinity": rule("zone", app="web")}}, THERE, {"b1", "x"}),
        ({"affinity": {"podAffinity": rule("zone", app="web")}}, [], set()),  # the first of its group
        ({"affinity": {"podAffinity": rule("zone", app="other")}}, [], {"a1", "a2", "b1", "x"}),
        ({}, [pod("o", on="b1", affinity={"podAntiAffinity": rule("zone", app="web")})], {"b1"}),
    ],
)
def test_rules_between_pods(spec, others, away):
    assert set(misplaced(pod(on="", **spec), NODES, others)) == away


def test_pods_are_spread_over_domains():
    constraint = {"topologyKey": "zone", "maxSkew": 1, "labelSelector": {"matchLabels": {"app": "web"}}}
    spread = [constraint | {"whenUnsatisfiable": "DoNotSchedule"}]
    away = misplaced(pod(on="", topologySpreadConstraints=spread), NODES, THERE)
    assert set(away) == {"a1", "a2", "x"}
    assert away["x"].endswith("(missing required label)")
    spread[0]["whenUnsatisfiable"] = "ScheduleAnyway"
    assert misplaced(pod(on="", topologySpreadConstraints=spread), NODES, THERE) == {}


# --- ReplicaSets ---


def replica_set(replicas: int, **spec) -> dict:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web", "namespace": "default", "uid": "rs", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            **spec,
        },
        "status": {"replicas": 0},
    }


def owned(each: dict) -> dict:
    reference = {
        "kind": "ReplicaSet",
        "name": "web",
        "uid": "rs",
        "controller": True,
        "apiVersion": "apps/v1",
    }
    return {**each, "metadata": {**each["metadata"], "ownerReferences": [reference]}}


def test_a_replica_set_makes_adopts_and_releases():
    assert kinds(of_replica_set(replica_set(2), [], {}, NOW))[:2] == [Create, Create]
    adopted, *_ = of_replica_set(replica_set(1), [pod()], {}, NOW)
    assert adopted.obj["metadata"]["ownerReferences"][0]["uid"] == "rs"
    other = owned(pod())
    other["metadata"]["labels"] = {"app": "other"}
    released, made, *_ = of_replica_set(replica_set(1), [other], {}, NOW)
    assert "ownerReferences" not in released.obj["metadata"]
    assert isinstance(made, Create)


def test_a_pod_counts_as_available_after_min_ready_seconds():
    young = owned(pod())
    young["status"]["conditions"][0]["lastTransitionTime"] = "2027-01-15T07:59:58Z"  # 2 s before NOW
    status, again = of_replica_set(replica_set(1, minReadySeconds=5), [young], {}, NOW)
    assert status.obj["status"]["readyReplicas"] == 1
    assert "availableReplicas" not in status.obj["status"]
    assert isinstance(again, Again)
    assert 3 <= again.seconds < 3.1


def costly(each: dict, cost: int) -> dict:
    each["metadata"]["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": str(cost)}
    return each


def restarted(each: dict, count: int) -> dict:
    each["status"]["containerStatuses"] = [{"restartCount": count}]
    return each


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (pod("a", on=""), pod("b", phase="Pending", ready=False)),
        (pod("a", phase="Pending", ready=False), pod("b", ready=False)),
        (pod("a", ready=False), pod("b")),
        (costly(pod("a"), -1), pod("b")),
        (pod("a", on="node-1"), pod("b")),  # two of them are on node-1
        (restarted(pod("a"), 3), pod("b")),
    ],
)
def test_which_pods_go_first(first, then):
    related = {"node-0": 1, "node-1": 2}
    assert deletion_order([then, first], related, NOW) == [first, then]


def test_the_youngest_of_two_ready_pods_goes_first():
    young = pod("young")
    young["status"]["conditions"][0]["lastTransitionTime"] = "2027-01-15T07:59:50Z"
    assert deletion_order([pod("old"), young], {}, NOW)[0] is young


# --- nodes ---


def state(node_: dict, ready: str) -> dict:
    return node_ | {"status": {"conditions": [{"type": "Ready", "status": ready}]}}


def test_a_node_that_isnt_ready_is_tainted_and_a_ready_one_isnt():
    lost = tainted(state(node("a"), "Unknown"), NOW)
    keys = [(each["key"].split("/")[1], each["effect"]) for each in lost["spec"]["taints"]]
    assert keys == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]
    assert tainted(lost, NOW) is lost
    assert tainted(state(lost, "True"), NOW)["spec"]["taints"] == []
    unknown = node("a")
    del unknown["status"]
    assert tainted(unknown, NOW) is unknown


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, []), (0, [Delete, Tell]), (60, [Again]), (300, [Again])],
)
def test_when_a_pod_leaves_a_tainted_node(seconds, expected):
    since = {"key": "out", "effect": "NoExecute", "timeAdded": "2027-01-15T08:00:00Z"}
    toleration = {"key": "out", "operator": "Exists"}
    if seconds is not None:
        toleration["tolerationSeconds"] = seconds
    place = state(node("a"), "True") | {"spec": {"taints": [since]}}
    writes = of_node(place, [pod(tolerations=[toleration])], 5, NOW)
    assert kinds(writes) == expected
    if seconds == 300:  # the default: as long as the lab says
        assert writes[0].seconds == 5
    assert kinds(of_node(place, [pod()], 5, NOW)) == [Delete, Tell]


# --- others ---


def test_an_object_goes_with_the_last_of_its_owners():
    each = owned(pod())
    assert collected(each, lambda *_: False) == []
    assert kinds(collected(each, lambda *_: True)) == [Delete]
    both = owned(pod())
    both["metadata"]["ownerReferences"].append({"kind": "Job", "name": "j", "uid": "j"})
    (write,) = collected(both, lambda _, reference: reference["uid"] == "j")
    assert isinstance(write, Update)
    assert [owner["uid"] for owner in write.obj["metadata"]["ownerReferences"]] == ["rs"]


def test_an_address_that_is_asked_for_or_held_is_given():
    pools = [ip_network("192.0.2.0/30"), ip_network("2001:db8::/126")]
    both = {"ipFamilies": ["IPv4", "IPv6"]}
    status, _ = addresses(service("a", type="LoadBalancer", **both), {"192.0.2.1"}, pools)
    given = status.obj["status"]["loadBalancer"]["ingress"]
    assert [each["ip"] for each in given] == ["192.0.2.2", "2001:db8::1"]
    assert addresses(status.obj, set(), pools) == []
    asked = service("a", type="LoadBalancer", loadBalancerIP="192.0.2.2")
    assert addresses(asked, set(), pools)[0].obj["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.2"
    assert addresses(service("a", type="LoadBalancer", loadBalancerClass="x"), set(), pools) == []
    assert kinds(addresses({**status.obj, "spec": {"type": "ClusterIP"}}, set(), pools)) == [UpdateStatus]


def test_the_newest_ended_pods_are_kept():
    old, new = pod("old"), pod("new")
    new["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    assert [write.obj["metadata"]["name"] for write in surplus([old, new], 1)] == ["old"]


@pytest.mark.parametrize(("indexes", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 5, 7, 8], "0-2,5,7-8")])
def test_indexes_of_a_job(indexes, text):
    assert spelled(indexes) == text


def test_a_daemon_pod_is_of_the_node_that_it_was_made_for():
    field = {"key": "metadata.name", "operator": "In", "values": ["node-7"]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert node_of(pod(on="", affinity=affinity)) == "node-7"
    assert node_of(pod(on="", affinity={})) == ""
