"""Bodies in protobuf: what kubectl sent is read, and what is broken is refused."""

import base64
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given, strategies

from kcompile.apiserver import StatusError
from kcompile.apiserver.protobuf import read_protobuf

LINES = (Path(__file__).parent / "data/kubectl-requests.jsonl").read_text().splitlines()
SENT = [each["sent"] for each in map(json.loads, LINES) if isinstance(each.get("sent"), dict)]
BODIES = [base64.b64decode(sent["base64"]) for sent in SENT if "base64" in sent]


def test_what_kubectl_sends_is_read():
    found = [read_protobuf(body) for body in BODIES]
    assert [(each["apiVersion"], each["kind"]) for each in found] == [
        ("v1", "Namespace"),
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("apps/v1", "Deployment"),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
    ]
    _, config_map, secret, deployment, review = found
    assert (config_map["data"], secret["data"]) == ({"a": "1"}, {"p": "eA=="})
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["template"]["spec"] == {
        "containers": [{"name": "nginx", "image": "nginx", "resources": {}}]
    }
    assert review["spec"]["resourceAttributes"] == {
        "namespace": "default",
        "verb": "list",
        "resource": "services",
    }


def message(*fields: tuple[int, bytes]) -> bytes:
    return b"".join(bytes((number << 3 | 2, len(data))) + data for number, data in fields)


def envelope(version: bytes, kind: bytes, raw: bytes) -> bytes:
    return b"k8s\0" + message((1, message((1, version), (2, kind))), (2, raw))


def test_a_kind_that_isnt_known_is_415_and_no_protobuf_400():
    for body, code in ((envelope(b"v1", b"Teapot", b""), 415), (b"{}", 400), (b"k8s\0\xff", 400)):
        with pytest.raises(StatusError) as error:
            read_protobuf(body)
        assert error.value.code == code


def test_numbers_that_may_be_names_and_what_stands_inside_another():
    port = message((2, b"TCP")) + b"\x18\x50" + message((4, b"\x08\x01\x10\x00" + message((3, b"http"))))
    made = read_protobuf(envelope(b"v1", b"Service", message((2, message((1, port))))))
    assert made["spec"]["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": "http"}]


@given(strategies.sampled_from(BODIES), strategies.data())
def test_a_broken_body_is_refused_and_nothing_else(body, data):
    place = data.draw(strategies.integers(4, len(body) - 1))
    broken = body[:place] + bytes((data.draw(strategies.integers(0, 255)),)) + body[place + 1 :]
    for each in (broken, body[:place]):
        with contextlib.suppress(StatusError):
            assert isinstance(read_protobuf(each), dict)
