"""What a sequence's file may say, and that the harness complains of what does not become true."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.flowcase import CaseError
from harness.sequence import Fate, load
from harness.sequence_runner import run_sequence

NODE = {"name": "node-a", "ips": ["192.0.2.10"], "podCIDRs": ["10.244.0.0/24"]}
PORT = {"name": "p", "port": 80}
WEB = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "demo"},
    "spec": {"clusterIP": "10.96.0.10", "ports": [PORT]},
}
SLICE = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "namespace": "demo", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"name": "p", "port": 8080}],
    "endpoints": [{"addresses": ["10.244.0.21"], "nodeName": "node-a"}],
}
A = "10.244.0.21:8080"
FLOW = {"src": "10.244.0.5", "dst": "10.96.0.10", "dport": 80}


def write(folder: Path, *steps: dict[str, Any], **more: Any) -> Path:
    path = folder / "sequence.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": "self",
                "node": NODE,
                "objects": {"web": WEB, "slice": SLICE},
                "steps": list(steps),
                **more,
            }
        )
    )
    return path


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"apply": ["web", "other"], "open": {"a": FLOW}}], "step 1: no such object: other"),
        ([{"apply": ["web"], "open": {"a": FLOW | {"port": 1}}}], "step 1: open: a: unknown key port"),
        ([{"apply": ["web"], "open": {"a": {"src": "10.244.0.5"}}}], "step 1: open: a: 'dst'"),
        ([{"apply": ["web"], "expect": {"a": "lives"}}], "step 1: no such flow is open: a"),
        (
            [{"open": {"a": FLOW}}, {"expect": {"a": "survives"}}],
            "step 2: expect: a: 'survives' is not lives",
        ),
        ([{"open": {"a": FLOW}}, {"expect": {"a": "moves"}}], "step 2: expect: a: 'moves' is not lives"),
        ([{"mode": "xdp", "open": {"a": FLOW}}], "step 1: mode belongs to apply"),
        ([{"apply": ["web"]}], "no flows"),
    ],
    ids=["object", "key", "missing", "flow", "verb", "where-to", "mode", "nothing"],
)
def test_mistakes_in_a_sequence_are_named(tmp_path: Path, steps: list[dict[str, Any]], told: str):
    with pytest.raises(CaseError, match=told):
        load(write(tmp_path, *steps))


def test_expectations_by_mode(tmp_path: Path):
    fates = {"xdp-tc": "ends", "iptables": f"moves to {A}", "else": "lives"}
    step = load(write(tmp_path, {"open": {"a": FLOW}}, {"expect": {"a": fates}})).steps[1]
    wanted = {
        "xdp-tc": Fate("ends"),
        "iptables-nft": Fate("moves", A),
        "xdp": Fate("lives"),
        "nftables": Fate("lives"),
    }
    assert {mode: dict(step.expected(mode))["a"] for mode in wanted} == wanted


@pytest.mark.kernel
def test_what_does_not_become_true_is_told(tmp_path: Path):
    steps = [
        {
            "apply": ["web", "slice"],
            "open": {
                "a": FLOW,
                "b": FLOW,
                "c": FLOW | {"answer": "10.244.0.99:8080"},
                "d": FLOW | {"answer": "nobody"},
            },
        },
        {"why": "nothing changes", "expect": {"a": "ends", "b": "moves to 10.244.0.22:8080"}},
    ]
    assert run_sequence(load(write(tmp_path, *steps)), "nftables", tmp_path) == [
        f"step 1: c: 10.244.0.99:8080 should answer, but: {A}",
        f"step 1: d: nobody should answer, but {A} does",
        f"step 2 (nothing changes): a (with {A}): ends, it should be, but: {A}",
        f"step 2 (nothing changes): b (with {A}): moves to 10.244.0.22:8080, it should be, but: {A}",
    ]
