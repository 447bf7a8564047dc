"""Manifests in the manner of what projects publish: what ``plan`` says of them, as a file.

``pytest --update-golden`` writes it.

Who gives such a file to kcompile must learn of every Service that leads nowhere, and of nothing twice.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness import netns
from kcompile.cli import main
from kcompile.notices import WARNINGS

pytestmark = pytest.mark.kernel

HERE = Path(__file__).parent
MANIFESTS = HERE / "manifests"
SCREEN = 24  # lines
INPUTS = ("delivery.yaml", "ingress.yaml", "shop.yaml", "monitoring")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    env = {"KCOMPILE_RUN_DIR": str(folder / "run"), "KCOMPILE_STATE_DIR": str(folder / "state")}
    with netns.group(["published"]) as names:
        yield ["--netns", names["published"], "--mode", "nftables", "--node", "node-a"], env


def planned(node, *args):
    options, env = node
    before = Path.cwd()
    os.chdir(MANIFESTS)
    try:
        done = CliRunner().invoke(main, ["plan", *options, *args], env=env)
    finally:
        os.chdir(before)
    assert done.exit_code == 0, done.output
    return done


def services(path: Path) -> set[str]:
    """Every Service with a selector, by ``namespace/name``."""
    texts = [path.read_text()] if path.is_file() else [each.read_text() for each in path.iterdir()]
    found = [
        document for text in texts for document in yaml.safe_load_all(text) if document["kind"] == "Service"
    ]
    assert found
    return {f"{each['metadata'].get('namespace', 'default')}/{each['metadata']['name']}" for each in found}


@pytest.mark.parametrize("name", INPUTS)
def test_what_plan_warns_of(name, node, request):
    said = planned(node, "-f", name).stderr
    lines = said.splitlines()
    assert 0 < len(lines) <= SCREEN
    assert len(set(lines)) == len(lines)
    assert all(line.startswith("kcompile: warning: ") for line in lines)
    leading_nowhere = [line for line in lines if line.endswith("[no-endpoints]")]
    for service in services(MANIFESTS / name):
        assert len([line for line in leading_nowhere if f": Service {service}: " in line]) == 1, service
    golden = HERE / "golden" / f"{name.removesuffix('.yaml')}.txt"
    if request.config.getoption("--update-golden", default=False):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(said)
    assert said == golden.read_text(), "if this is what you want: pytest --update-golden tests/published"


def test_every_object_is_used_or_counted(node):
    """The number in the line of what is skipped, and -v's lines, come to all objects of other kinds."""
    documents = [each for each in yaml.safe_load_all((MANIFESTS / "delivery.yaml").read_text()) if each]
    used = ("Service", "Deployment", "StatefulSet")
    others = [each for each in documents if each["kind"] not in used]
    said = planned(node, "-f", "delivery.yaml").stderr
    assert f"skipped {len(others)} objects" in said
    each = planned(node, "-f", "delivery.yaml", "-v").stderr.splitlines()
    skipped = [line for line in each if line.endswith("[skipped]")]
    assert len(skipped) == len(others)
    for other in others:
        assert any(f" {other['metadata']['name']}: skipped" in line for line in skipped)


def test_json_has_the_same_warnings_with_their_ids(node):
    done = planned(node, "-f", "ingress.yaml", "-o", "json")
    warnings = json.loads(done.stdout)["warnings"]
    assert {each["id"] for each in warnings} == {"skipped", "no-effect", "no-endpoints"} <= set(WARNINGS)
    printed = done.stderr.splitlines()
    assert sorted(f"kcompile: warning: {each['message']} [{each['id']}]" for each in warnings) == sorted(
        printed
    )
    (effect,) = [each for each in warnings if each["id"] == "no-effect"]
    assert effect["source"] == "ingress.yaml"
    assert effect["object"] == "Service ingress/ingress-controller"
    assert effect["field"] == "spec.loadBalancerIP"


def test_quiet_warnings_are_in_neither(node):
    done = planned(
        node,
        "-f",
        "ingress.yaml",
        "-o",
        "json",
        "--quiet-warning",
        "no-endpoints",
        "--quiet-warning",
        "skipped",
    )
    assert [each["id"] for each in json.loads(done.stdout)["warnings"]] == ["no-effect"]
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_id_is_refused(node):
    options, env = node
    done = CliRunner().invoke(main, ["plan", *options, "-f", "x", "--quiet-warning", "no-endpoint"], env=env)
    assert done.exit_code == 2
    assert "there is no-endpoints" in done.stderr
