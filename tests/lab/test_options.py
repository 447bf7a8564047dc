"""Command lines that are refused in one line, before anything is made."""

from pathlib import Path

import pytest

from harness.clusters import cluster


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--service-cluster-ip-range", "10.0.0.0/30"],
         "--service-cluster-ip-range 10.0.0.0/30: too small: a lab needs 16 addresses"),
        (["--service-cluster-ip-range", "fd00::/112"],
         "--service-cluster-ip-range fd00::/112: the first one must be IPv4"),
        (["--service-cluster-ip-range", "10.0.0.0/24", "--dual-stack"],
         "--service-cluster-ip-range 10.0.0.0/24: --dual-stack needs a range of each family"),
        (["--cluster-domain", "not a name"], "--cluster-domain not a name: not a domain name"),
        (["--name", "Big"], "--name 'Big': lower-case letters, digits and '-', at most 32"),
        (["-f", "/nonexistent.yaml"], "/nonexistent.yaml: No such file or directory"),
        (["--images", "/nonexistent.yaml"], "/nonexistent.yaml: No such file or directory"),
        (["--config", "-"], "--config -: a lab needs a file"),
        (["--config", "/nonexistent.yaml"], "/nonexistent.yaml: No such file or directory"),
    ],
)  # fmt: skip
def test_up(tmp_path: Path, options: list[str], says: str):
    with cluster(tmp_path) as lab:
        assert lab.run("up", *options, code=2) == f"kcompile: {says}\n"
        assert lab.left() == []


def test_two_nodes_with_one_address(tmp_path: Path):
    node = (
        "---\napiVersion: v1\nkind: Node\nmetadata: {name: %s}\n"
        "status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}\n"
    )
    (tmp_path / "nodes.yaml").write_text(node % "a" + node % "b")
    with cluster(tmp_path) as lab:
        assert (
            lab.run("up", "-f", str(tmp_path / "nodes.yaml"), code=2)
            == "kcompile: two nodes have the InternalIP 10.0.0.1\n"
        )


@pytest.mark.parametrize(
    "verb",
    [["status"], ["scale", "web", "2"], ["curl", "http://x"], ["logs", "x"], ["apply", "--mode", "nftables"]],
)
def test_without_a_lab(tmp_path: Path, verb: list[str]):
    with cluster(tmp_path) as lab:
        assert (
            lab.run(*verb, code=2)
            == f"kcompile: there is no lab '{lab.name}' (kcompile lab up --name {lab.name} -f ...)\n"
        )
