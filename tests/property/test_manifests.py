"""From the text of specs to a real kernel and back, on random specs, in every mode that this kernel has."""

import json
import os
import random

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import modes, netns
from harness.random_manifests import random_manifests
from kcompile.cli import main
from kcompile.kernel.drivers import driver_for
from uml.kernels import KINDS

pytestmark = pytest.mark.kernel
seeds = st.integers(0, 2**32)
# an apply is dozens of processes and a fork of this one, which take a machine of the tests'
# (docs/howto/ipvs-kernel.md) seconds
EXAMPLES = 3 if os.uname().nodename in KINDS else 12
slow = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Node:
    """A namespace and the command line on it."""

    def __init__(self, name: str, mode: str, folder) -> None:
        self.name, self.mode, self.folder = name, mode, folder
        self.path = folder / "specs.json"

    def run(self, verb: str, *args: str) -> str:
        env = {"KCOMPILE_RUN_DIR": str(self.folder / "run"), "KCOMPILE_STATE_DIR": str(self.folder / "state")}
        done = CliRunner().invoke(main, [verb, "--netns", self.name, "--mode", self.mode, *args], env=env)
        assert done.exit_code == 0, done.output
        return done.output

    def apply(self, objects: list, seed: int) -> str:
        """Apply `objects`; specs of one `seed` share their allocations, whatever was applied between."""
        self.path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        return self.run(
            "apply", "-f", str(self.path), "--node", "node-a", "--state", str(self.folder / f"{seed}.json")
        )

    def held(self) -> dict:
        with netns.enter(self.name):
            return driver_for(
                self.mode, directory=netns.run_directory(self.folder / "run", self.name)
            ).observe()


@pytest.fixture(scope="module", params=list(modes.MODES))
def node(request, tmp_path_factory):
    if reason := modes.missing(request.param):
        pytest.skip(reason)  # a failure in CI: plugins/no_silent_skips.py
    with netns.group(["property"]) as names:
        # a namespace that never had an address has no local table, and IPVS refuses every destination there
        netns.run(names["property"], ["ip", "link", "set", "lo", "up"])
        yield Node(names["property"], request.param, tmp_path_factory.mktemp("node"))


@slow
@given(seeds)
def test_a_second_apply_changes_nothing(node, seed):
    objects = random_manifests(random.Random(seed))
    node.apply(objects, seed)
    held = node.held()
    assert held
    assert "No changes" in node.apply(objects, seed)
    assert node.held() == held


@slow
@given(seeds, seeds)
def test_the_order_of_the_specs_does_not_matter(node, seed, order):
    objects = random_manifests(random.Random(seed))
    node.apply(objects, seed)
    random.Random(order).shuffle(objects)
    assert "No changes" in node.apply(objects, seed)


@slow
@given(seeds, seeds)
def test_where_a_node_comes_from_does_not_matter(node, one, other):
    """apply(diff(a, b)) == b: the same rules result from an empty node as from one that held others."""
    goal = random_manifests(random.Random(other))
    node.run("delete")
    node.apply(goal, other)
    fresh = node.held()
    node.apply(random_manifests(random.Random(one)), one)
    node.apply(goal, other)
    assert node.held() == fresh
    node.run("delete")
    assert node.held() == {}
