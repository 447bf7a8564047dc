"""Every broken input through the command: exit 2, one line on stderr, nothing on stdout, and a kernel that
nothing has touched.
"""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from badinput.cases import CASES
from harness import netns
from kcompile.cli import main
from kcompile.kernel.nftables import Nft

pytestmark = pytest.mark.kernel

GOOD = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "good", "namespace": "demo"},
    "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "p", "port": 80}]},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A namespace where a good Service is applied already, with its ruleset as text and its run directory."""
    folder = tmp_path_factory.mktemp("node")
    env = {"KCOMPILE_RUN_DIR": str(folder / "run"), "KCOMPILE_STATE_DIR": str(folder / "state")}
    good = folder / "good.json"
    good.write_text(json.dumps(GOOD))
    with netns.group(["bad"]) as names:
        options = ["--netns", names["bad"], "--mode", "nftables", "--node", "node-a"]
        done = CliRunner().invoke(main, ["apply", *options, "-f", str(good)], env=env)
        assert done.exit_code == 0, done.output
        yield options, env, names["bad"]


def ruleset(name: str) -> bytes:
    with netns.enter(name), Nft() as nft:
        code, listing, _ = nft._run("list ruleset")
    assert code == 0
    return listing


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_apply_refuses(case, node, tmp_path):
    options, env, name = node
    before = ruleset(name)
    assert b"10.96.0.1" in before
    manifests, config = case.write(tmp_path)
    args = ["apply", *options, "-f", str(manifests), *(["--config", str(config)] if config else [])]
    done = CliRunner().invoke(main, args, env=env)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    for part in case.expected:
        assert part in lines[0]
    assert ruleset(name) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["-f", "https://example.com/web.yaml"],
            ("a URL is not fetched here", "curl -sSL https://example.com/web.yaml"),
        ),
        (["-k", "FOLDER"], ("not a directory with a kustomization.yaml",)),
        (["-R", "-f", "FOLDER"], ("no .yaml, .yml or .json file",)),
    ],
)
def test_apply_refuses_paths(arguments, expected, node, tmp_path):
    options, env, name = node
    before = ruleset(name)
    words = [word.replace("FOLDER", str(tmp_path)) for word in arguments]
    done = CliRunner().invoke(main, ["apply", *options, *words], env=env)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    assert all(part in done.stderr for part in expected)
    assert ruleset(name) == before


def test_the_real_process_exits_with_2_too(node, tmp_path):
    options, env, _ = node
    path = tmp_path / "broken.yaml"
    path.write_text("kind: Service\nmetadata: {name: x")
    command = [sys.executable, "-m", "kcompile", "apply", *options, "-f", str(path)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert str(path) in done.stderr


def test_wrong_usage_exits_with_2(node):
    options, env, _ = node
    for args in (["apply", *options], ["apply", "--mode", "nonsense", "-f", "x"], ["nonsense"]):
        assert CliRunner().invoke(main, args, env=env).exit_code == 2
