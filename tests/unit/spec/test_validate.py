"""What validation lets through: everything that the API server takes.

What it refuses is in tests/badinput.
"""

from __future__ import annotations

import pytest

from kcompile.errors import AllocationError, SpecError
from kcompile.spec.validate import validate

from .make import endpoint, inventory, node, pod, service, slice_of

TWO = [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]


@pytest.mark.parametrize(
    "manifest",
    [
        service(clusterIP=""),
        service(clusterIP="None", ports=[]),
        service(
            clusterIP="None",
            clusterIPs=["None"],
            ipFamilies=["IPv6", "IPv4"],
            ipFamilyPolicy="RequireDualStack",
        ),
        service(
            clusterIP="10.96.0.1", clusterIPs=["10.96.0.1"], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack"
        ),
        service(
            clusterIP="fd00::1",
            clusterIPs=["fd00::1", "10.96.0.1"],
            ipFamilies=["IPv6", "IPv4"],
            ipFamilyPolicy="PreferDualStack",
        ),
        service(ports=TWO),
        service(type="NodePort", ports=[{**port, "nodePort": 30053} for port in TWO]),
        service(ports=[{"port": 65535, "targetPort": "http-alt", "protocol": "SCTP"}]),
        service(ports=[{"port": 1, "nodePort": 0}]),
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86400}}),
        service(sessionAffinity="None", sessionAffinityConfig={}),
        service(externalIPs=["198.18.0.1", "2001:db8::1"], externalTrafficPolicy="Local"),
        service(externalTrafficPolicy=""),
        service("1web"),
        service(
            type="LoadBalancer", loadBalancerSourceRanges=[" 10.0.0.0/8", "::/0"], loadBalancerClass="a.b/c"
        ),
        service(
            type="LoadBalancer",
            externalTrafficPolicy="Local",
            healthCheckNodePort=30900,
            allocateLoadBalancerNodePorts=False,
        ),
        service(
            type="LoadBalancer",
            status={
                "loadBalancer": {
                    "ingress": [{"ip": "169.254.1.1", "ipMode": "Proxy"}, {"hostname": "a.example"}]
                }
            },
        ),
        service(type="ExternalName", externalName="a.example.", ports=[]),
        service(labels={"example.com/Some_Key": "", "b": "A.b_c"}, selector={"app": ""}),
        service(trafficDistribution="PreferClose", internalTrafficPolicy="Cluster"),
        service(annotations={"kcompile.dev/ipvs-scheduler": "wlc", "anything": "at $(all)\n"}),
        slice_of(
            endpoint(
                zone="zone-a", nodeName="node.example", hostname="a", hints={"forZones": [{"name": "zone-a"}]}
            )
        ),
        slice_of(endpoint(), ports=[{"port": None}, {"name": "a", "port": 0}]),
        slice_of(),
        {**slice_of(endpoint("a.example.")), "addressType": "FQDN"},
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "a"},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}],
        },
        pod(ip=["10.0.0.1", "fd00::1"], ports=[{"containerPort": 80, "name": "http"}]),
        pod(ip=()),
        node(
            addresses=[("InternalIP", "10.0.0.1"), ("Hostname", "node a")],
            podCIDR="10.0.0.0/24",
            podCIDRs=["10.0.0.0/24", "fd00::/64"],
        ),
        {
            "apiVersion": "networking.k8s.io/v1beta1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": ["10.96.0.0/12", "fd00::/108"]},
        },
    ],
)
def test_legal_objects_pass(manifest):
    validate(inventory(manifest))


def test_the_first_problem_in_the_order_of_the_input_is_told():
    bad = [service("one", type="x"), service("two", type="x")]
    for order in (bad, bad[::-1]):
        with pytest.raises(SpecError) as caught:
            validate(inventory(*order))
        assert caught.value.obj == f"Service demo/{order[0]['metadata']['name']}"


def test_an_error_says_where():
    with pytest.raises(SpecError) as caught:
        validate(
            inventory(
                service("fine"), service(ports=[{"name": "a", "port": 1}, {"name": "b", "port": 99999}])
            )
        )
    error = caught.value
    assert (error.source, error.document, error.obj, error.field) == (
        "test.json",
        2,
        "Service demo/web",
        "spec.ports[1].port",
    )
    assert (
        str(error)
        == "test.json: document 2: Service demo/web: spec.ports[1].port: 99999 is not a port (1-65535)"
    )


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ({"clusterIP": "10.96.0.1"}, {"clusterIP": "10.96.0.1"}, True),
        ({"clusterIP": "10.96.0.1"}, {"clusterIP": "10.96.0.2"}, False),
        ({"clusterIP": "None"}, {"clusterIP": "None"}, False),
        (
            {
                "clusterIP": "10.0.0.1",
                "clusterIPs": ["10.0.0.1", "fd00::1"],
                "ipFamilyPolicy": "PreferDualStack",
            },
            {"clusterIP": "fd00:0::1"},
            True,
        ),
        ({"externalIPs": ["198.18.0.1"]}, {"externalIPs": ["198.18.0.1"]}, False),
    ],
)
def test_one_address_one_service(one, two, clash):
    found = inventory(service("one", **one), service("two", **two))
    if not clash:
        validate(found)
        return
    with pytest.raises(AllocationError, match="Service demo/one") as caught:
        validate(found)
    assert caught.value.obj == "Service demo/two"


@pytest.mark.parametrize(("protocol", "clash"), [("TCP", True), ("UDP", False)])
def test_one_node_port_one_service_for_each_protocol(protocol, clash):
    health = service("one", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30001)
    first = service("one", type="NodePort", ports=[{"port": 1, "nodePort": 30001}])
    second = service("two", type="NodePort", ports=[{"port": 1, "nodePort": 30001, "protocol": protocol}])
    for other in (health, first):
        if clash:
            with pytest.raises(AllocationError, match="Service demo/one"):
                validate(inventory(other, second))
        else:
            validate(inventory(other, second))
