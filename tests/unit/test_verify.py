"""`kcompile verify` and `trace` without a node: every mode does what the manifests say, and says why not."""

from pathlib import Path

import msgspec
import pytest
import yaml

import kcompile
from harness.command import configuration, node_object
from harness.flowcase import load
from kcompile.engine import verify
from kcompile.engine.compile import compile_cluster
from kcompile.engine.trace import question, trace_specs
from kcompile.errors import InputError
from kcompile.targets.nftables.resources import ElementKey

CASES = Path(__file__).parents[1] / "conformance/flowcases"
TRACED = (
    "15-etp-local-with-local",
    "25-cluster-terminating-ignored",
    "39-lb-source-ranges",
    "49-dual-stack-one-family-empty",
)


def compiled(name, folder, mode="nftables"):
    case = load(CASES / f"{name}.yaml")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump_all(configuration(case.config)))
    sources = [node_object(case.node), *case.manifests]
    cluster = kcompile.read_cluster(sources, config, case.node.name, state=str(folder / "none"))
    cluster.config = msgspec.structs.replace(cluster.config, mode=mode)
    return compile_cluster(cluster, cluster.request), cluster.request


@pytest.mark.parametrize("name", TRACED)
def test_every_mode_does_what_the_manifests_say(name, tmp_path):
    report = verify.verify_modes(*compiled(name, tmp_path))
    assert report.packets > 10
    assert report.differences == ()


def test_a_wrong_rule_is_a_packet(tmp_path, monkeypatch):
    """A backend that the lowering gets wrong: the report names Service, frontend and mode."""
    given, request = compiled("15-etp-local-with-local", tmp_path)
    right = verify.base_chains

    def wrong(program):
        backends = [key for key in program if isinstance(key, ElementKey) and key.map == "tcp-insiders"]
        return right({**program, **dict.fromkeys(backends[:1], ("10.244.0.99 . 8080", ""))})

    monkeypatch.setattr(verify, "base_chains", wrong)
    found = verify.verify_modes(given, request).differences
    assert {difference.where for difference in found} == {"nftables"}
    assert {difference.service for difference in found} == {"demo/el:http"}
    assert all("10.244.0.99:8080" in difference.found for difference in found)


@pytest.mark.parametrize(
    ("source", "to", "reason"),
    [
        ("outside", "10.96.0.40:81", "Service demo/el has no port 81/TCP: it has 80/TCP"),
        (
            "outside",
            "10.96.9.9:80",
            "no Service has the address 10.96.9.9, which is in the range of clusterIPs",
        ),
    ],
)
def test_the_first_cause(source, to, reason, tmp_path):
    given, _ = compiled("15-etp-local-with-local", tmp_path)
    journey = trace_specs(given, question(source, to, "tcp", given.cluster.inventory))
    assert journey.cause is not None
    assert journey.cause.reason == reason


def test_a_service_without_usable_endpoints(tmp_path):
    given, _ = compiled("03-clusterip-only-notready", tmp_path)
    (port, *_) = given.dataplane.ports
    address = port.frontends[0].address
    journey = trace_specs(given, question("node", f"{address}:{port.frontends[0].port}", "tcp", None))
    assert journey.cause is not None
    assert journey.cause.reason == f"{port.name} has no usable endpoint"
    assert journey.cause.evidence == (
        "10.244.0.21:8080: not ready; 10.244.1.31:8080: terminating, and serves no more"
    )


@pytest.mark.parametrize(
    ("source", "to", "message"),
    [
        ("outside", "10.96.0.40", "trace: '10.96.0.40' is not ADDRESS:PORT or SERVICE:PORT"),
        ("outside", "shop/none:80", "trace: shop/none is neither an address nor a Service of the input"),
        (
            "somewhere",
            "10.96.0.40:80",
            "trace: somewhere is neither outside, node, an address, nor a Pod of the input",
        ),
        ("10.0.0.1", "[fd00::1]:80", "trace: 10.0.0.1 and fd00::1 are of two IP families"),
    ],
)
def test_questions_that_cannot_be(source, to, message):
    with pytest.raises(InputError) as error:
        question(source, to, "tcp", None)
    assert str(error.value) == message
