"""The sample and its demo work as the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import modes

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


def played(*chosen: str, patience: int) -> str:
    command = [
        sys.executable,
        str(SAMPLE / "demo.py"),
        *(word for mode in chosen for word in ("--mode", mode)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def check(text: str, mode: str) -> None:
    """One mode's part of the story."""
    story = text.partition(f"━━ {mode} ━")[2].partition("━━ ")[0]
    for node in ("192.0.2.10", "192.0.2.11"):
        outside = rf"NodePort +client outside +{re.escape(node)}"
        for port in (30004, 30443):
            line = rf"✓ nginx, HTTPS? +{outside}:{port}/ .* {re.escape(node)}$"
            assert re.search(line, story, re.MULTILINE)
        assert re.search(rf"✓ tomcat +NodePort +client outside +{re.escape(node)}:30005/myapp/ +\d\d ", story)
        assert re.search(
            rf"✓ tomcat +NodePort +client outside +{re.escape(node)}:30005/myapp/ +1  refused$",
            story,
            re.MULTILINE,
        )
        assert (
            len(
                re.findall(
                    rf"✓ tomcat by nginx +NodePort +client outside +{re.escape(node)}:30004/myapp/ +\d\d ",
                    story,
                )
            )
            >= 2
        )
    assert len(re.findall(r"✓ tomcat +ClusterIP +nginx on node-[ab] ", story)) >= 4
    for line in (
        "deployment.apps/tomcat-deployment unchanged",
        "service/tomcat-service configured",
        "✓ its ClusterIP is what it was",
        "✓ in its own namespace the Service's name is enough",
        "✓ its full name leads there from any",
        "✓ elsewhere the bare name is nobody's",
        "✓ nginx's log has the requests, each from the node that it came by",
    ):
        assert line in story
    assert "✗" not in story


@pytest.mark.kernel
def test_the_demo():
    """The whole of it: nginx and tomcat themselves, in every mode that this kernel has."""
    there = [mode for mode in modes.MODES if mode != "ipvs" and not modes.missing(mode)]
    if not there:
        pytest.skip(modes.missing("nftables"))
    text = played(*there, patience=300)
    for mode in there:
        check(text, mode)
    assert "✓ 2 nginx and 4 tomcat" in text
    assert "✓ nothing of it is left" in text


@pytest.mark.kernel
@pytest.mark.ipvs_kernel
def test_the_demo_under_ipvs():
    check(played("ipvs", patience=600), "ipvs")
