"""The sample's manifests are what the README says."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "nginx-tomcat"


def services(*files: Path) -> dict[str, dict]:
    documents = [d for f in files for d in yaml.safe_load_all(f.read_text())]
    return {d["metadata"]["name"]: d for d in documents if d["kind"] == "Service"}


def test_the_second_file_differs_in_nothing_but_the_node_port():
    open_, closed = (
        services(SAMPLE / "tomcat-service.yaml"),
        services(SAMPLE / "clusterip" / "tomcat-service.yaml"),
    )
    before, after = open_["tomcat-service"], closed["tomcat-service"]
    assert before["spec"].pop("type") == "NodePort"
    assert after["spec"].pop("type") == "ClusterIP"
    assert before["spec"]["ports"][0].pop("nodePort") == 30005
    assert before == after


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
@pytest.mark.parametrize("node", ["node-a", "node-b"])
def test_the_sample_compiles(mode: str, node: str, tmp_path: Path):
    command = [sys.executable, "-m", "kcompile", "compile", "-f", str(SAMPLE), "--node", node, "--mode", mode]
    done = subprocess.run(
        [*command, "--state", str(tmp_path / "state.json")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    pods = [d["status"]["podIP"] for d in yaml.safe_load_all((SAMPLE / "pods.yaml").read_text())]
    assert len(pods) == 6
    for address in pods:
        assert address in done.stdout
    for node_port in (30004, 30443, 30005):
        assert str(node_port) in done.stdout
