"""`kcompile explain`: which endpoints are used, why others aren't, and what is in the kernel."""

import msgspec
import pytest

import kcompile
from kcompile.engine.compile import compile_cluster
from kcompile.engine.explain import explain
from kcompile.errors import InputError
from kcompile.targets.nftables.resources import ElementKey

NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "zone-a"}},
    "spec": {"podCIDRs": ["10.244.0.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]},
}


def service(name="web", cluster_ip="10.96.0.20", node_port=30080, **spec):
    ports = [{"port": 80, "targetPort": 8080, "nodePort": node_port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"type": "NodePort", "clusterIP": cluster_ip, "ports": ports, **spec},
    }


def endpoint(address, node="node-a", hints=(), **conditions):
    found = {"addresses": [address], "nodeName": node, "conditions": conditions}
    return found | ({"hints": {"forZones": [{"name": hint} for hint in hints]}} if hints else {})


def slice_of(*endpoints, name="web"):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-1",
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": list(endpoints),
    }


@pytest.fixture
def ask(tmp_path):
    def ask(objects, asked="shop/web", mode="nftables"):
        cluster = kcompile.read_cluster([NODE, *objects], node="node-a", state=str(tmp_path / "state"))
        cluster.config = msgspec.structs.replace(cluster.config, mode=mode)
        compiled = compile_cluster(cluster, cluster.request)
        return explain(compiled, asked), compiled

    return ask


def why_not(found):
    return {endpoint.address: endpoint.why_not for endpoint in found[0].endpoints}


def test_endpoints_that_are_not_ready_or_end(ask):
    (found, _) = ask(
        [
            service(),
            slice_of(
                endpoint("10.244.0.5"),
                endpoint("10.244.0.6", ready=False),
                endpoint("10.244.0.7", ready=False, serving=True, terminating=True),
                endpoint("10.244.0.8", ready=False, serving=False, terminating=True),
            ),
        ]
    )
    assert why_not(found) == {
        "10.244.0.5:8080": "",
        "10.244.0.6:8080": "not ready",
        "10.244.0.7:8080": "terminating",
        "10.244.0.8:8080": "terminating, and serves no more",
    }
    assert [e.used for e in found[0].endpoints] == [True, False, False, False]


def test_endpoints_of_another_zone(ask):
    near, far = endpoint("10.244.0.5", hints=["zone-a"]), endpoint("10.244.1.5", "node-b", hints=["zone-b"])
    (found, _) = ask([service(), slice_of(near, far)])
    assert why_not(found)["10.244.1.5:8080"] == (
        "its hints name other zones (zone-b); this node is in zone-a"
    )


def test_policy_local(ask):
    spec = {"type": "ClusterIP", "internalTrafficPolicy": "Local"}
    (found, _) = ask(
        [service(node_port=None, **spec), slice_of(endpoint("10.244.0.5"), endpoint("10.244.1.5", "node-b"))]
    )
    assert found[0].internal_policy == "Local"
    assert why_not(found)["10.244.1.5:8080"] == "policy Local: it runs on node-b, not on this node"
    assert found[0].endpoints[0].pools == ("local",)


def test_who_is_masqueraded(ask):
    (found, _) = ask([service(), slice_of(endpoint("10.244.0.5"))])
    (node_port,) = [f for f in found[0].frontends if f.kind == "NodePort"]
    assert {s.clients: s.masqueraded for s in node_port.sources} == {
        "pods": True,
        "node": True,
        "others": True,
    }


@pytest.mark.parametrize("asked", ["shop/web", "web", "10.96.0.20:80", "192.0.2.10:30080"])
def test_how_a_service_is_named(ask, asked):
    (found, _) = ask([service(), slice_of(endpoint("10.244.0.5"))], asked)
    assert [item.service for item in found] == ["shop/web"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("shop/other", "explain shop/other: no such Service in the input"),
        ("10.96.0.20:81", "explain 10.96.0.20:81: no Service answers on 10.96.0.20 port 81"),
        ("shop/headless", "explain shop/headless: Service shop/headless is headless: DNS records, no rules"),
    ],
)
def test_what_has_no_rules_says_why(ask, asked, message):
    headless = service("headless", "None")
    headless["spec"] = {"clusterIP": "None", "ports": [{"port": 80}]}
    with pytest.raises(InputError) as error:
        ask([service(), headless, slice_of(endpoint("10.244.0.5"))], asked)
    assert str(error.value) == message


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy", "ipvs", "xdp"])
def test_rules_of_its_own_and_shared_ones(ask, mode):
    objects = [
        service(),
        slice_of(endpoint("10.244.0.5")),
        service("api", "10.96.0.21", 30081),
        slice_of(endpoint("10.244.0.6"), name="api"),
    ]
    (found, _) = ask(objects, mode=mode)
    own = [resource.text for resource in found[0].resources if not resource.shared]
    assert own
    assert not [text for text in own if "10.96.0.21" in text]
    assert any(
        "10.96.0.20" in resource.text or "10.244.0.5" in resource.text for resource in found[0].resources
    )


def test_what_the_kernel_lacks_or_has_otherwise(ask):
    objects = [service(), slice_of(endpoint("10.244.0.5"))]
    _, compiled = ask(objects)
    program = dict(compiled.mode.target().lower(compiled.dataplane))
    backend = ElementKey("ip", "tcp-backends", "10.96.0.20 . 80 . 0")
    del program[ElementKey("ip", "frontends", "10.96.0.20 . tcp . 80")]
    program[backend] = ("10.244.0.99 . 8080", "")
    found = explain(compiled, "shop/web", program)
    wrong = {
        resource.text.split("{")[0].split()[-1]: resource.live
        for resource in found[0].resources
        if resource.live != "present"
    }
    assert wrong == {"frontends": "missing", "tcp-backends": "different"}
