"""Valid inputs with something broken at random: they pass or are refused, nothing else happens."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from badinput.test_refused import check
from harness.random_manifests import random_manifests
from kcompile.errors import InputError
from kcompile.spec.load import load

JUNK: list[Any] = [
    None, True, 0, -1, 65536, 2**63, 10**30, 1.5, "", "0", "a b", "x;y", "\n", "\x1b", "é", "٨", "10.0.0.256",
    "::ffff:1.2.3.4",
    "fe80::1%eth0",
    "0.0.0.0/0", "10.0.0.0/99", "None", "ClusterIP", "IPv6", [], {}, [None], [[]], [{}], {"": ""},
    {"a": None}, ["10.0.0.1"] * 3,
]  # fmt: skip
SNIPPETS = [
    b"", b"[", b"{", b"- ", b"\n---\n", b"&a ", b"*a ", b": ", b",", b"\n\xef\xbb\xbf", b"{{ .x }}",
    b"[001:db8::]", b"|\n ", b"\n",
    b"010.0.0.1", b"# ", b"\n- ",
]  # fmt: skip
CONFIG = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "mode": "iptables",
    "clusterCIDR": "10.244.0.0/16,fd00:10:244::/48",
    "detectLocalMode": "ClusterCIDR",
    "detectLocal": {"bridgeInterface": "cbr0"},
    "nodePortAddresses": ["10.0.0.0/8"],
    "iptables": {"masqueradeBit": 14, "syncPeriod": "30s"},
    "conntrack": {"maxPerCore": 1, "tcpEstablishedTimeout": "1h"},
    "featureGates": {"A": True},
}

KUBEADM = {
    "apiVersion": "kubeadm.k8s.io/v1beta4",
    "kind": "ClusterConfiguration",
    "networking": {
        "serviceSubnet": "10.96.0.0/12,fd00:96::/112",
        "podSubnet": "10.244.0.0/16",
        "dnsDomain": "cluster.local",
    },
    "apiServer": {"extraArgs": [{"name": "service-node-port-range", "value": "30000-32767"}]},
}


def configuration_texts(rng: random.Random) -> str:
    """A configuration, or what else --config takes, with something broken in it, outside or inside of what it
    holds.
    """
    configmap = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"config.conf": yaml.safe_dump(broken(rng, CONFIG))},
    }
    match rng.randrange(5):
        case 0:
            return yaml.safe_dump(broken(rng, CONFIG))
        case 1:
            return yaml.safe_dump(configmap)
        case 2:
            return yaml.safe_dump(broken(rng, configmap))
        case 3:
            return yaml.safe_dump(
                broken(rng, {"apiVersion": "v1", "kind": "List", "items": [{"kind": "Pod"}, configmap]})
            )
        case _:
            return yaml.safe_dump_all(
                [
                    broken(rng, KUBEADM),
                    {"kind": "InitConfiguration", "apiVersion": "kubeadm.k8s.io/v1beta4"},
                    CONFIG,
                ]
            )


FORMS = [
    {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "foreign"},
        "spec": {"template": {}},
    },
    {
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "metadata": {"name": "old", "labels": {"kubernetes.io/service-name": "old"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080, "name": ""}],
        "endpoints": [{"addresses": ["10.244.9.5"], "topology": {"kubernetes.io/hostname": "node-a"}}],
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "generateName": "made-",
            "ownerReferences": [{"kind": "A", "uid": "1"}],
            "managedFields": [{"fieldsV1": {"f:a": {}}}],
        },
        "spec": {
            "type": "",
            "ports": [{"port": 80.0, "protocol": "", "targetPort": "", "nodeport": 1}],
            "sessionAffinity": "",
        },
    },
    {
        "apiVersion": "apps/v1beta1",
        "kind": "StatefulSet",
        "metadata": {"name": "old"},
        "spec": {
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}]},
            }
        },
    },
    {
        "apiVersion": "batch/v1beta1",
        "kind": "CronJob",
        "metadata": {"name": "old"},
        "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}},
    },
]
"""Objects of other groups, of versions that were, without a name, with fields that nobody knows."""


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) inside `value`."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [found for key in keys for found in [(value, key), *places(value[key])]]


def broken(rng: random.Random, value: Any) -> Any:
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        container, key = rng.choice(places(value))
        match rng.randrange(4):
            case 0 | 1:
                container[key] = copy.deepcopy(rng.choice(JUNK))
            case 2:
                container[key] = copy.deepcopy(rng.choice([c[k] for c, k in places(value)]))
            case _ if isinstance(container, dict):
                container[rng.choice(["x", "", key * 2, "items"])] = container.pop(key)
            case _:
                container.append(container[key])
    return value


def written(objects: Any, as_yaml: bool) -> bytes:
    return (
        yaml.safe_dump_all(objects)
        if as_yaml
        else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    ).encode()


def with_a_key_twice(rng: random.Random, text: bytes) -> bytes:
    """JSON or flow YAML with one more of some key, now and then."""
    if rng.random() < 0.5:
        return text
    keys = re.findall(rb'"?[A-Za-z]+"?: ?', text)
    at = rng.choice([match.end() for match in re.finditer(rb"\{", text)] or [0])
    return text[:at] + rng.choice(keys or [b'"a": ']) + rng.choice([b"1, ", b"null, ", b"{}, "]) + text[at:]


def flowing(objects: Any) -> bytes:
    """Flow style, one document an object, a byte order mark before each: as of files that were joined."""
    return b"\n---\n".join(
        b"\xef\xbb\xbf" + yaml.safe_dump(each, default_flow_style=True, width=4000).encode()
        for each in objects
    )


def passes_or_is_refused(path: Path, config: Path | None = None) -> None:
    message = ""
    try:
        for validate in ("strict", "ignore"):
            with contextlib.suppress(InputError):
                load([str(path)], validate=validate)
        check([str(path)], str(config) if config else None, "node-a")
    except InputError as error:
        message = str(error)
    assert message.isprintable(), message
    assert len(message) < 1500


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=150, deadline=None)
def test_broken_objects(tmp_path_factory, rng: random.Random, as_yaml: bool):
    objects = broken(rng, [*random_manifests(rng, 2), *copy.deepcopy(FORMS)])
    path = tmp_path_factory.mktemp("input") / "input"
    path.write_bytes(with_a_key_twice(rng, written(objects, as_yaml)))
    passes_or_is_refused(path)


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=150, deadline=None)
def test_broken_bytes(tmp_path_factory, rng: random.Random, as_yaml: bool):
    objects = [*random_manifests(rng, 2), rng.choice(FORMS)]
    text = bytearray(written(objects, as_yaml) if rng.random() < 0.7 else flowing(objects))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text))
        text[at : at + rng.choice((0, 1, 1, 20))] = rng.choice([bytes([rng.randrange(256)]), *SNIPPETS])
    if rng.random() < 0.3:
        del text[rng.randrange(len(text)) :]
    path = tmp_path_factory.mktemp("input") / "input"
    path.write_bytes(text)
    passes_or_is_refused(path)


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_broken_configurations(tmp_path_factory, rng: random.Random):
    folder = tmp_path_factory.mktemp("input")
    (folder / "input").write_text("")
    (folder / "config").write_text(configuration_texts(rng))
    passes_or_is_refused(folder / "input", folder / "config")


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_bytes(tmp_path_factory, data: bytes):
    path = tmp_path_factory.mktemp("input") / "input"
    path.write_bytes(data)
    passes_or_is_refused(path)
    with contextlib.suppress(InputError):
        check([], str(path))
