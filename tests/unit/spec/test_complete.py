"""EndpointSlices out of Pods and Endpoints objects."""

from __future__ import annotations

import pytest

from kcompile.spec.complete import complete
from kcompile.spec.endpointless import without_endpoints

from .make import endpoint, inventory, node, pod, service, slice_of

READY = {"type": "Ready", "status": "True"}
UNREADY = {"type": "Ready", "status": "False"}


def completed(*manifests):
    found = inventory(*manifests)
    complete(found)
    return [str(notice) for notice in without_endpoints(found)], found.endpoint_slices


def selecting(**spec):
    return service(selector={"app": "web"}, **spec)


@pytest.mark.parametrize(
    ("fields", "ready", "serving", "terminating"),
    [
        ({"conditions": [READY]}, True, True, False),
        ({"conditions": [UNREADY]}, False, False, False),
        ({"conditions": [{"type": "Initialized", "status": "True"}]}, False, False, False),
        ({}, True, True, False),
        ({"phase": "Running"}, True, True, False),
        ({"phase": "Pending"}, False, False, False),
        ({"conditions": [READY], "deleted": True}, False, True, True),
        ({"conditions": [UNREADY], "deleted": True}, False, False, True),
    ],
)
@pytest.mark.parametrize("publish", [False, True])
def test_conditions(fields, ready, serving, terminating, publish):
    _, (made,) = completed(selecting(publishNotReadyAddresses=publish), pod(**fields))
    found = made.endpoints[0].conditions
    assert (found.ready, found.serving, found.terminating) == (ready or publish, serving, terminating)


@pytest.mark.parametrize(
    "other",
    [
        pod(phase="Succeeded"),
        pod(phase="Failed"),
        pod(ip=()),
        pod(labels={"app": "api"}),
        pod(labels={}),
        {**pod(), "metadata": {"name": "x", "namespace": "other", "labels": {"app": "web"}}},
        {**pod(), "status": None},
    ],
)
def test_pods_that_give_no_endpoint(other):
    assert completed(selecting(), other)[1] == []


def test_every_label_of_the_selector_counts():
    pods = [
        pod(f"p{i}", f"10.244.0.{i + 1}", labels)
        for i, labels in enumerate([{"a": "1"}, {"b": "2"}, {"a": "1", "b": "2", "c": "3"}])
    ]
    _, (made,) = completed(service(selector={"a": "1", "b": "2"}), *pods)
    assert [e.target_ref.name for e in made.endpoints] == ["p2"]


def test_named_target_ports_are_each_pods_own():
    ports = [
        {"name": "http", "port": 80, "targetPort": "web"},
        {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"},
        {"name": "raw", "port": 99},
    ]
    _, made = completed(
        selecting(ports=ports),
        pod(
            "a",
            "10.244.0.1",
            ports=[
                {"name": "web", "containerPort": 8080},
                {"name": "dns", "containerPort": 5353, "protocol": "UDP"},
            ],
        ),
        pod(
            "b",
            "10.244.0.2",
            ports=[{"name": "web", "containerPort": 9090}, {"name": "dns", "containerPort": 5353}],
        ),
        pod("c", "10.244.0.3", ports=[{"name": "web", "containerPort": 9090}]),
    )
    found = {
        tuple((p.name, p.protocol, p.port) for p in s.ports): [e.addresses[0] for e in s.endpoints]
        for s in made
    }
    assert found == {
        (("http", "TCP", 8080), ("dns", "UDP", 5353), ("raw", "TCP", 99)): ["10.244.0.1"],
        (("http", "TCP", 9090), ("raw", "TCP", 99)): ["10.244.0.2", "10.244.0.3"],
    }


def test_one_slice_a_family():
    manifests = pod("a", ["10.244.0.1", "fd00::1"]), pod("b", ["fd00::2"])
    _, made = completed(selecting(ipFamilies=["IPv6", "IPv4"]), *manifests)
    assert {s.address_type: [e.addresses for e in s.endpoints] for s in made} == {
        "IPv4": [["10.244.0.1"]],
        "IPv6": [["fd00::1"], ["fd00::2"]],
    }
    assert [s.address_type for s in completed(selecting(ipFamilies=["IPv4"]), *manifests)[1]] == ["IPv4"]


def test_what_an_endpoint_says_of_its_pod():
    manifests = selecting(), pod(nodeName="node-a", hostname="db-0", subdomain="web"), node(zone="zone-a")
    _, (made,) = completed(*manifests)
    found = made.endpoints[0]
    assert (found.node_name, found.zone, found.hostname, found.target_ref.name) == (
        "node-a",
        "zone-a",
        "db-0",
        "web-0",
    )
    assert made.metadata.labels["kubernetes.io/service-name"] == "web"
    assert found.hints is None


@pytest.mark.parametrize(
    ("distribution", "zones", "nodes"),
    [
        ("PreferClose", ["zone-a"], []),
        ("PreferSameZone", ["zone-a"], []),
        ("PreferSameNode", ["zone-a"], ["node-a"]),
    ],
)
def test_traffic_distribution_becomes_hints(distribution, zones, nodes):
    _, (made,) = completed(
        selecting(trafficDistribution=distribution), pod(nodeName="node-a"), node(zone="zone-a")
    )
    hints = made.endpoints[0].hints
    assert ([z.name for z in hints.for_zones or ()], [n.name for n in hints.for_nodes or ()]) == (
        zones,
        nodes,
    )


def test_headless_services_get_slices_that_proxies_leave_alone():
    _, (made,) = completed(selecting(clusterIP="None", ports=[]), pod())
    assert "service.kubernetes.io/headless" in made.metadata.labels


def test_real_slices_are_used_and_not_pods():
    notes, made = completed(selecting(), pod(), slice_of(endpoint("10.244.9.9")))
    assert [e.addresses for s in made for e in s.endpoints] == [["10.244.9.9"]]
    assert notes == []


def endpoints_object(name="web", labels=None, annotations=None):
    subsets = [
        {
            "addresses": [{"ip": "10.0.0.1", "nodeName": "node-a"}, {"ip": "fd00::1"}],
            "notReadyAddresses": [{"ip": "10.0.0.2"}],
            "ports": [{"port": 8080, "name": "http"}],
        },
        {"addresses": [{"ip": "10.0.0.3"}], "ports": [{"port": 9090, "name": "http", "protocol": "UDP"}]},
    ]
    meta = {"name": name, "namespace": "demo", "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets}


def test_endpoints_objects_are_mirrored():
    _, made = completed(service(), endpoints_object())
    found = [
        (
            s.address_type,
            [(e.addresses[0], e.conditions.ready) for e in s.endpoints],
            s.ports[0].port,
            s.ports[0].protocol,
        )
        for s in made
    ]
    assert found == [
        ("IPv4", [("10.0.0.1", True), ("10.0.0.2", False)], 8080, "TCP"),
        ("IPv6", [("fd00::1", True)], 8080, "TCP"),
        ("IPv4", [("10.0.0.3", True)], 9090, "UDP"),
    ]
    assert made[0].endpoints[0].node_name == "node-a"


@pytest.mark.parametrize(
    "other",
    [
        endpoints_object("api"),
        endpoints_object(labels={"endpointslice.kubernetes.io/skip-mirror": "true"}),
        endpoints_object(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}),
    ],
)
def test_endpoints_that_are_not_mirrored(other):
    assert completed(service(), other)[1] == []


def test_endpoints_stand_in_for_pods_that_are_not_in_the_input():
    assert len(completed(selecting(), endpoints_object())[1]) == 3
    assert [s.endpoints[0].addresses for s in completed(selecting(), endpoints_object(), pod())[1]] == [
        ["10.244.0.1"]
    ]


def test_a_deployment_without_pods_is_noted():
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}},
        },
    }
    notes, made = completed(selecting(), deployment)
    assert made == []
    assert notes == [
        "test.json: Service demo/web: no endpoint: the Pods of Deployment web are not in the input"
    ]
    assert completed(selecting(), deployment, pod())[0] == []


def test_completing_twice_changes_nothing():
    found = inventory(selecting(), pod())
    complete(found)
    before = list(found.endpoint_slices)
    complete(found)
    assert found.endpoint_slices == before
