"""The cluster's own settings: what `compile` takes, `dns` and the lab take too."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from kcompile.cli import main
from kcompile.errors import ConfigError
from kcompile.ir.node import DetectMode
from kcompile.lab.nodes import new_nodes
from kcompile.spec.allocate import DEFAULT_NODE_PORT_RANGE
from kcompile.spec.cluster import ClusterSettings, Given, configured, settings_of
from kcompile.spec.objects import ServiceCIDR, ServiceCIDRSpec

KUBEADM = """
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {serviceSubnet: 172.20.0.0/16, podSubnet: 10.9.0.0/16, dnsDomain: corp.example}
apiServer: {extraArgs: [{name: service-node-port-range, value: 80-32767}]}
"""
SHORT = """
serviceCIDRs: [172.20.0.0/16]
nodePortRange: 80-32767
clusterDomain: corp.example
detectLocal: {mode: ClusterCIDR, cidrs: [10.9.0.0/16]}
"""
SERVICES = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 8080}]},
    },
]
OPTIONS = ["--service-cluster-ip-range", "172.20.0.0/16", "--service-node-port-range", "80-32767"]


def run(folder: Path, *words: str, code: int = 0) -> str:
    manifests = folder / "services.yaml"
    manifests.write_text(yaml.safe_dump_all(SERVICES))
    done = CliRunner().invoke(main, [*words, "-f", str(manifests), "--state", str(folder / "state.json")])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize(
    "verb", [["compile", "--mode", "nftables"], ["dns", "render"]], ids=lambda verb: verb[0]
)
@pytest.mark.parametrize("text", [KUBEADM, SHORT], ids=["kubeadm", "short"])
def test_every_verb_reads_the_configuration(verb, text, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(text)
    output = run(tmp_path, *verb, "--config", str(config))
    assert "172.20." in output
    assert ("$ORIGIN corp.example." if verb[0] == "dns" else "8080") in output


@pytest.mark.parametrize(
    "verb", [["compile", "--mode", "nftables"], ["dns", "render"]], ids=lambda verb: verb[0]
)
def test_every_verb_takes_the_options(verb, tmp_path):
    assert "172.20." in run(tmp_path, *verb, *OPTIONS)


@pytest.mark.parametrize(
    "verb", [["compile", "--mode", "nftables"], ["dns", "render"]], ids=lambda verb: verb[0]
)
def test_every_verb_refuses_alike_and_names_the_option(verb, tmp_path):
    said = run(tmp_path, *verb, code=2)
    assert (
        "Service default/web: spec.ports[0].nodePort: 8080 is outside the node port range 30000-32767" in said
    )
    assert said.endswith("(--service-node-port-range)\n")


def test_the_domain_on_the_command_line_wins(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(KUBEADM)
    output = run(tmp_path, "dns", "render", "--config", str(config), "--cluster-domain", "A.b.")
    assert "$ORIGIN a.b." in output


def test_a_labs_nodes_share_the_pod_cidr():
    nodes = new_nodes([], 3, True, ["10.9.0.0/16", "fd00:9::/48"])
    assert [node.pod_cidrs for node in nodes] == [
        ["10.9.0.0/24", "fd00:9::/64"],
        ["10.9.1.0/24", "fd00:9:0:1::/64"],
        ["10.9.2.0/24", "fd00:9:0:2::/64"],
    ]
    assert [node.pod_cidrs for node in new_nodes([], 3, False, ["10.9.0.0/24"])] == [
        ["10.9.0.0/26"],
        ["10.9.0.64/26"],
        ["10.9.0.128/26"],
    ]
    with pytest.raises(ConfigError, match=r"10\.9\.0\.0/28 is too small for 3 nodes"):
        new_nodes([], 3, False, ["10.9.0.0/28"])


def test_nothing_said_is_the_default():
    assert settings_of(configured(None)) == ClusterSettings()
    assert ClusterSettings().node_port_range == DEFAULT_NODE_PORT_RANGE


def test_options_stand_above_objects_in_the_input():
    given = Given(
        service_cidrs="10.1.0.0/16", node_port_range="1-2", pod_cidrs="10.2.0.0/16,FD00::/48", domain="X.y"
    )
    config = configured(None, given)
    assert (config.detect_mode, config.detect_cidrs) == (
        DetectMode.CLUSTER_CIDR,
        ("10.2.0.0/16", "fd00::/48"),
    )
    objects = [ServiceCIDR(spec=ServiceCIDRSpec(cidrs=["10.3.0.0/16", "10.1.0.0/16"]))]
    assert settings_of(config, objects) == ClusterSettings(
        service_cidrs=("10.1.0.0/16", "10.3.0.0/16"),
        node_port_range=(1, 2),
        pod_cidrs=("10.2.0.0/16", "fd00::/48"),
        domain="x.y",
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Given(service_cidrs="10.0.0.0"), "--service-cluster-ip-range: "),
        (Given(node_port_range="30000"), "--service-node-port-range: "),
        (Given(pod_cidrs="pods"), "--pod-cidr: "),
        (Given(domain="not a name"), "--cluster-domain not a name: "),
    ],
)
def test_bad_options_are_named(given, says):
    with pytest.raises(ConfigError, match=says):
        configured(None, given)


# --- errors that say which option mends them ---


NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("objects", "config", "options", "names"),
    [
        ([NODE, {**NODE, "metadata": {"name": "b"}}], "", [], "--node"),
        ([NODE], "", ["--node", "x"], "--node"),
        ([NODE], "detectLocal: {mode: NodeCIDR}", [], "--pod-cidr"),
        ([NODE], "detectLocal: {mode: ClusterCIDR}", [], "--pod-cidr"),
        (SERVICES, "", [], "--service-node-port-range"),
        (
            SERVICES,
            "nodePortRange: 8080-8080",
            ["--service-cluster-ip-range", "fd00::/127"],
            "--service-cluster-ip-range",
        ),
    ],
)
def test_the_option_mends_it(objects, config, options, names, tmp_path):
    mended = {
        "--node": "a",
        "--pod-cidr": "10.244.0.0/16",
        "--service-node-port-range": "80-32767",
        "--service-cluster-ip-range": "10.96.0.0/12",
    }
    manifests, file = tmp_path / "objects.yaml", tmp_path / "config.yaml"
    manifests.write_text(yaml.safe_dump_all(objects))
    file.write_text(config)
    words = ["compile", "--allow-empty", "--mode", "nftables", "-f", str(manifests)]
    words += ["--config", str(file), "--state", str(tmp_path / "state.json")]
    refused = CliRunner().invoke(main, [*words, *options])
    assert refused.exit_code == 2
    assert names in refused.output
    assert CliRunner().invoke(main, [*words, *options, names, mended[names]]).exit_code == 0


def test_a_node_name_in_capitals_is_the_same_node(tmp_path):
    manifests = tmp_path / "objects.yaml"
    manifests.write_text(yaml.safe_dump_all([NODE, {**NODE, "metadata": {"name": "b"}}]))
    done = CliRunner().invoke(
        main, ["compile", "--allow-empty", "--mode", "nftables", "-f", str(manifests), "--node", "B"]
    )
    assert done.exit_code == 0, done.output


def test_a_configuration_on_standard_input(tmp_path):
    manifests = tmp_path / "services.yaml"
    manifests.write_text(yaml.safe_dump_all(SERVICES))
    words = ["compile", "--mode", "nftables", "--state", str(tmp_path / "state.json"), "--config", "-"]
    done = CliRunner().invoke(main, [*words, "-f", str(manifests)], input=KUBEADM)
    assert done.exit_code == 0, done.output
    assert "8080" in done.output
    refused = CliRunner().invoke(main, [*words, "-f", "-"], input=KUBEADM)
    assert (refused.exit_code, refused.output) == (
        2,
        "kcompile: --config -: standard input holds the manifests already (-f -)\n",
    )
    wrong = CliRunner().invoke(main, [*words, "-f", str(manifests)], input="mode: x")
    assert wrong.output.startswith("kcompile: <stdin>: document 1: mode: ")
