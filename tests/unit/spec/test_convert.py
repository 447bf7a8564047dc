"""Services and slices into the IR's service ports: what a proxy sees, by the rules of pkg/proxy."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile.ir.model import Endpoint, Family, Protocol
from kcompile.spec.allocate import allocate
from kcompile.spec.convert import service_ports
from kcompile.spec.validate import validate

from .make import endpoint, inventory, service, slice_of

VIP = {"clusterIP": "10.96.0.1"}
DUAL = {
    "clusterIP": "10.96.0.1",
    "clusterIPs": ["10.96.0.1", "fd00:0::1"],
    "ipFamilyPolicy": "RequireDualStack",
}


def converted(*manifests):
    found = inventory(*manifests)
    validate(found)
    return service_ports(found)


def only(*manifests):
    (port,) = converted(*manifests)
    return port


def test_the_plain_case():
    port = only(service(**VIP), slice_of(endpoint(nodeName="node-a")))
    assert (port.name, port.family, port.protocol, port.port, port.cluster_ip) == (
        "demo/web:http",
        Family.IPV4,
        Protocol.TCP,
        80,
        "10.96.0.1",
    )
    assert port.endpoints == (Endpoint("10.244.0.1", 8080, "node-a"),)


def test_a_port_without_a_name():
    port = only(service(**VIP, ports=[{"port": 80}]), slice_of(endpoint(), ports=[{"port": 8080}]))
    assert port.name == "demo/web"
    assert len(port.endpoints) == 1


@pytest.mark.parametrize(
    "manifest",
    [
        service(clusterIP="None"),
        service(clusterIP=""),
        service(type="ExternalName", externalName="example.com"),
        service(**VIP, labels={"service.kubernetes.io/service-proxy-name": "other"}),
        service(**VIP, labels={"service.kubernetes.io/service-proxy-name": ""}),
    ],
)
def test_services_that_no_proxy_serves(manifest):
    assert converted(manifest) == []


@pytest.mark.parametrize(
    "manifest",
    [
        slice_of(endpoint(), labels={"service.kubernetes.io/headless": ""}),
        slice_of(endpoint(), labels={"service.kubernetes.io/service-proxy-name": "other"}),
        slice_of(endpoint(), service="api"),
        slice_of(endpoint(), ports=[{"name": "other", "port": 8080}]),
        slice_of(endpoint(), ports=[{"name": "http", "port": 8080, "protocol": "UDP"}]),
        slice_of(endpoint(), ports=[{"name": "http"}]),
        slice_of(endpoint(), ports=[{"name": "http", "port": 0}]),
        slice_of(endpoint(), ports=[]),
        slice_of(endpoint("fd00::1")),
        slice_of(),
        {**slice_of(endpoint()), "metadata": {"name": "x", "namespace": "demo"}},
        {
            **slice_of(endpoint()),
            "metadata": {"name": "x", "namespace": "other", "labels": {"kubernetes.io/service-name": "web"}},
        },
        {**slice_of(endpoint("backend.example.com")), "addressType": "FQDN"},
    ],
)
def test_slices_that_give_no_endpoint(manifest):
    assert only(service(**VIP), manifest).endpoints == ()


@pytest.mark.parametrize(
    ("given_conditions", "ready", "serving", "terminating"),
    [
        (None, True, True, False),
        ({}, True, True, False),
        ({"ready": False}, False, True, False),
        ({"ready": False, "serving": False}, False, False, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True, True),
        ({"terminating": None}, True, True, False),
    ],
)
def test_conditions(given_conditions, ready, serving, terminating):
    (found,) = only(service(**VIP), slice_of(endpoint(conditions=given_conditions))).endpoints
    assert (found.ready, found.serving, found.terminating) == (ready, serving, terminating)


def test_hints():
    hints = {"forZones": [{"name": "b"}, {"name": "a"}], "forNodes": [{"name": "n"}]}
    (found,) = only(service(**VIP), slice_of(endpoint(hints=hints))).endpoints
    assert (found.zone_hints, found.node_hints) == (("a", "b"), ("n",))


def test_only_the_first_address_counts():
    port = only(service(**VIP), slice_of({"addresses": ["10.244.0.9", "10.244.0.8"]}))
    assert [e.ip for e in port.endpoints] == ["10.244.0.9"]


def test_a_port_number_is_each_slices_own():
    other = slice_of(endpoint("10.244.0.2"), name="web-2", ports=[{"name": "http", "port": 9090}])
    port = only(service(**VIP), other, slice_of(endpoint()))
    assert [(e.ip, e.port) for e in port.endpoints] == [("10.244.0.1", 8080), ("10.244.0.2", 9090)]


@pytest.mark.parametrize("swap", [False, True])
def test_of_two_entries_the_one_that_does_not_terminate_wins(swap):
    slices = [
        slice_of(
            endpoint(conditions={"ready": False, "serving": True, "terminating": True}, nodeName="b"),
            name="web-1",
        ),
        slice_of(endpoint(conditions={"ready": False, "serving": False}, nodeName="a"), name="web-2"),
    ]
    (found,) = only(service(**VIP), *(slices[::-1] if swap else slices)).endpoints
    assert (found.terminating, found.node) == (False, "a")


def test_both_families():
    four, six = converted(
        service(**DUAL), slice_of(endpoint()), slice_of(endpoint("fd00:0:0::0a"), name="web-2")
    )
    assert (four.family, four.cluster_ip, [e.ip for e in four.endpoints]) == (
        Family.IPV4,
        "10.96.0.1",
        ["10.244.0.1"],
    )
    assert (six.family, six.cluster_ip, [e.ip for e in six.endpoints]) == (
        Family.IPV6,
        "fd00::1",
        ["fd00::a"],
    )


def test_outside_addresses_are_canonical_and_of_the_family():
    status = {
        "loadBalancer": {
            "ingress": [
                {"ip": "198.18.0.1"},
                {"ip": "2001:DB8::0:2", "ipMode": "VIP"},
                {"ip": "198.18.0.3", "ipMode": "Proxy"},
                {"hostname": "a.b"},
            ]
        }
    }
    four, six = converted(
        service(
            **DUAL,
            type="LoadBalancer",
            externalIPs=["198.18.1.1", "2001:db8:0::1", "198.18.1.1"],
            status=status,
        )
    )
    assert (four.external_ips, four.load_balancer_ips) == (("198.18.1.1",), ("198.18.0.1",))
    assert (six.external_ips, six.load_balancer_ips) == (("2001:db8::1",), ("2001:db8::2",))


@pytest.mark.parametrize(
    ("ranges", "four", "six"),
    [
        ([" 203.0.113.7/29 ", "2001:DB8::1/64"], ("203.0.113.0/29",), ("2001:db8::/64",)),
        (["10.0.0.0/8"], ("10.0.0.0/8",), ()),
        (["10.0.0.0/8", "0.0.0.0/0", "fd00::/8"], (), ("fd00::/8",)),
        (["::/0"], (), ()),
    ],
)
def test_source_ranges(ranges, four, six):
    stored = service(**DUAL, type="LoadBalancer", loadBalancerSourceRanges=ranges)
    stored["metadata"]["uid"] = "1"  # a cluster's, of a time when bits behind a prefix were taken
    ports = converted(stored)
    assert tuple(port.source_ranges for port in ports) == (four, six)


@pytest.mark.parametrize(
    ("spec", "external", "internal"),
    [
        ({}, False, False),
        ({"type": "NodePort", "externalTrafficPolicy": "Local"}, True, False),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, True, False),
        ({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"}, False, False),
        ({"externalIPs": ["198.18.0.1"], "externalTrafficPolicy": "Local"}, True, False),
        ({"internalTrafficPolicy": "Local"}, False, True),
    ],
)
def test_traffic_policies(spec, external, internal):
    port = only(service(**VIP, **spec))
    assert (port.external_local, port.internal_local) == (external, internal)


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "None"}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {}}}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}, 7),
    ],
)
def test_affinity(spec, seconds):
    assert only(service(**VIP, **spec)).affinity_seconds == seconds


def test_health_checks_and_schedulers():
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30900}
    port = only(service(**VIP, **spec, annotations={"kcompile.dev/ipvs-scheduler": "mh"}))
    assert (port.health_check_node_port, port.scheduler) == (30900, "mh")


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_input_leaves_no_trace(rng: random.Random):
    manifests = []
    for i in range(rng.randint(1, 6)):
        ports = [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 80, "protocol": "UDP"}][
            : rng.randint(1, 2)
        ]
        manifests.append(
            service(
                f"s{i}",
                ports=ports,
                type=rng.choice(("ClusterIP", "NodePort")),
                ipFamilyPolicy="PreferDualStack",
            )
        )
        for j in range(rng.randint(0, 3)):
            conditions = {"ready": rng.random() < 0.5, "terminating": rng.random() < 0.5}
            ends = [
                endpoint(f"10.244.0.{rng.randint(1, 5)}", nodeName=rng.choice("ab"), conditions=conditions)
                for _ in range(3)
            ]
            listed = [{**port, "port": 8080} for port in ports]
            manifests.append(slice_of(*ends, service=f"s{i}", name=f"s{i}-{j}", ports=listed))

    def result():
        found = inventory(*manifests)
        allocate(found.services, service_cidrs=["10.96.0.0/24", "fd00::/112"])
        return service_ports(found)

    first = result()
    rng.shuffle(manifests)
    assert result() == first
    assert [(p.name, p.family.value) for p in first] == sorted((p.name, p.family.value) for p in first)
    for port in first:
        places = [(e.ip, e.port) for e in port.endpoints]
        assert places == sorted(set(places))
