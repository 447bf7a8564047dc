"""Environment variables, quantities and the files of a pod."""

from __future__ import annotations

import pytest

from kcompile.lab.kubelet.environment import (
    CreateError,
    Facts,
    contents,
    environment,
    expanded,
    field,
    resource_field,
    service_variables,
)
from kcompile.lab.kubelet.podfiles import hosts, resolv_conf
from kcompile.lab.kubelet.quantity import divided

POD = {
    "metadata": {"name": "web-0", "namespace": "shop", "uid": "u", "labels": {"b": '"2"', "a": "1"}},
    "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi", "cpu": "250m"}}}]},
}
FACTS = Facts("node-a", ("192.0.2.10",), ("10.244.0.2", "fd00::2"))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)x", "12x"),
        ("$(NO)", "$(NO)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_references_as_kubernetes_expands_them(text: str, result: str):
    assert expanded(text, {"A": "1", "B": "2"}) == result


def test_variables_come_from_everywhere_in_order():
    data = {
        ("ConfigMap", "c"): {"kind": "ConfigMap", "data": {"k": "v", "A": "of-map"}},
        ("Secret", "s"): {"kind": "Secret", "data": {"p": "cHc="}},
    }
    container = {
        "name": "c",
        "envFrom": [
            {"configMapRef": {"name": "c"}},
            {"prefix": "S_", "secretRef": {"name": "s"}},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
        "env": [
            {"name": "A", "value": "own"},
            {"name": "B", "value": "$(A)-$(S_p)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
            {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": True}}},
        ],
    }
    container["resources"] = POD["spec"]["containers"][0]["resources"]
    found = environment(POD, container, {"A": "image", "PATH": "/bin"}, lambda *key: data.get(key), FACTS)
    assert found == {
        "PATH": "/bin",
        "k": "v",
        "A": "own",
        "S_p": "pw",
        "B": "own-pw",
        "IP": "10.244.0.2,fd00::2",
        "M": "64",
    }


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ({"configMapKeyRef": {"name": "c", "key": "k"}}, 'configmap "c" not found'),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in Secret shop/s"),
        ({"fieldRef": {"fieldPath": "spec.nope"}}, "fieldPath spec.nope: unsupported fieldPath"),
        ({"fileKeyRef": {}}, "valueFrom: a lab has no fileKeyRef"),
    ],
)
def test_what_is_missing_is_named(variable: dict, message: str):
    container = {"name": "c", "env": [{"name": "X", "valueFrom": variable}]}
    secret = {"kind": "Secret", "data": {}}
    with pytest.raises(CreateError, match=message):
        environment(POD, container, {}, lambda kind, _: secret if kind == "Secret" else None, FACTS)


def test_fields_of_the_downward_api():
    assert field(POD, "metadata.labels['a']", FACTS) == "1"
    assert field(POD, "metadata.labels", FACTS) == 'a="1"\nb="\\"2\\""'
    assert field(POD, "spec.nodeName", FACTS) == "node-a"
    assert field(POD, "spec.serviceAccountName", FACTS) == "default"
    cpu = {"resource": "limits.cpu", "containerName": "c"}
    assert resource_field(POD, {}, cpu, FACTS) == "1"
    assert resource_field(POD, {}, cpu | {"divisor": "1m"}, FACTS) == "250"
    assert resource_field(POD, {}, {"resource": "requests.memory"}, FACTS) == "0"


@pytest.mark.parametrize(
    ("text", "divisor", "result"),
    [("1Gi", "1Mi", "1024"), ("1500m", "1", "2"), ("1e3", "1k", "1"), ("0.5", "1m", "500"), ("1", "0", "1")],
)
def test_quantities_are_rounded_up(text: str, divisor: str, result: str):
    assert divided(text, divisor) == result


def test_what_is_no_quantity_is_refused():
    with pytest.raises(ValueError, match=r"'1\.\.5' is no quantity"):
        divided("1..5", "1")


def service(namespace: str, name: str, address: str, *ports: dict) -> dict:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"clusterIP": address, "ports": list(ports)},
    }


def test_variables_of_services():
    services = [
        service(
            "shop", "my-db", "10.96.0.7", {"port": 5432}, {"port": 53, "protocol": "UDP", "name": "dns-u"}
        ),
        service("shop", "headless", "None", {"port": 1}),
        service("other", "web", "10.96.0.8", {"port": 80}),
        service("default", "kubernetes", "10.96.0.1", {"port": 443, "name": "https"}),
    ]
    found = service_variables(services, "shop", links=True)
    assert found["MY_DB_SERVICE_HOST"] == found["MY_DB_PORT_5432_TCP_ADDR"] == "10.96.0.7"
    assert found["MY_DB_PORT"] == found["MY_DB_PORT_5432_TCP"] == "tcp://10.96.0.7:5432"
    assert found["MY_DB_SERVICE_PORT_DNS_U"] == found["MY_DB_PORT_53_UDP_PORT"] == "53"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not [name for name in found if name.startswith(("HEADLESS", "WEB"))]
    assert {name.partition("_")[0] for name in service_variables(services, "shop", links=False)} == {
        "KUBERNETES"
    }


def test_binary_data_is_decoded():
    assert contents({"kind": "ConfigMap", "data": {"a": "x"}, "binaryData": {"b": "AAE="}}) == {
        "a": b"x",
        "b": b"\0\1",
    }


def test_hosts_has_the_pod_and_its_aliases():
    pod = {**POD, "spec": {"subdomain": "web", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}
    lines = hosts(pod, ["10.244.0.2"], "node-a", "cluster.local").splitlines()
    assert "10.244.0.2\tweb-0.web.shop.svc.cluster.local\tweb-0" in lines
    assert lines[-1] == "1.2.3.4\ta\tb"


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({}, "search shop.svc.c.l svc.c.l c.l\nnameserver 10.96.0.10\noptions ndots:5\n"),
        ({"dnsPolicy": "Default"}, "search home\nnameserver 9.9.9.9\noptions edns0\n"),
        ({"hostNetwork": True}, "search home\nnameserver 9.9.9.9\noptions edns0\n"),
        (
            {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"},
            "search shop.svc.c.l svc.c.l c.l\nnameserver 10.96.0.10\noptions ndots:5\n",
        ),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["1.1.1.1"],
                    "searches": ["x"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            "search x\nnameserver 1.1.1.1\noptions ndots:2 edns0\n",
        ),
        (
            {"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}},
            "search shop.svc.c.l svc.c.l c.l\nnameserver 10.96.0.10\noptions ndots:1\n",
        ),
    ],
)
def test_resolv_conf_by_dns_policy(spec: dict, text: str):
    of_host = "nameserver 9.9.9.9\nsearch home\noptions edns0\n"
    assert resolv_conf({**POD, "spec": spec}, ["10.96.0.10"], "c.l", of_host) == text
