"""kill -9 in the middle of an apply: the kernel holds all old or all new, and the next apply repairs.

Ten kills a mode, at random steps of the command and of the process in which it writes (harness/steps.py).
They are counted, so that the test needs no apply that takes long: 2,000 Services are many netlink messages in
one transaction, and two seconds.
"""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from harness import netns, steps
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.lock import locked

pytestmark = pytest.mark.kernel
SERVICES, KILLS = 2_000, 10


def manifests(target_port: int) -> str:
    """SERVICES Services with one endpoint each; every backend differs between two `target_port`s."""
    items = []
    for i in range(SERVICES):
        name, high, low = f"svc-{i}", i // 250, i % 250 + 1
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
        meta = {"name": name, "namespace": "load"}
        spec = {"clusterIP": f"10.96.{high}.{low}", "ports": ports}
        items.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        items.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [f"10.244.{high}.{low}"], "nodeName": "node-b"}],
                "ports": [{"name": "http", "port": target_port, "protocol": "TCP"}],
            }
        )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("kill")
    paths = []
    for port in (8080, 9090):
        paths.append(folder / f"{port}.json")
        paths[-1].write_text(manifests(port))
    return paths


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy"])
def test_a_killed_apply_leaves_the_old_state_or_the_new(mode, inputs, tmp_path):
    rng = random.Random(42)
    env = {
        **os.environ,
        "KCOMPILE_RUN_DIR": str(tmp_path / "run"),
        "KCOMPILE_STATE_DIR": str(tmp_path / "state"),
    }
    with netns.group(["kill"]) as names:
        netns_name = names["kill"]

        def start(path: Path, whose: str = "command", step: int = 0) -> subprocess.Popen[str]:
            arguments = ["apply", "--mode", mode, "-f", str(path), "--node", "node-a", "--netns", netns_name]
            return steps.start(whose, step, tmp_path / "steps", arguments, env)

        def apply(path: Path, whose: str = "command") -> str:
            process = start(path, whose)
            out, _ = process.communicate(timeout=600)
            assert process.returncode == 0, out
            return out

        def observe() -> dict:
            with netns.enter(netns_name), locked(netns.run_directory(tmp_path / "run", netns_name)):
                return driver_for(mode).observe()

        apply(inputs[0])
        states = [observe()]
        totals = {}
        for whose, path in (("command", inputs[1]), ("writer", inputs[0]), ("command", inputs[1])):
            apply(path, whose)
            totals[whose] = int((tmp_path / "steps").read_text())
        states.append(observe())
        assert states[0] != states[1]
        assert len(driver_for(mode).target.frontends(states[0])) == SERVICES

        now, seen = 1, set()
        for kill in range(KILLS):
            goal, whose = 1 - now, ("command", "writer")[kill % 2]
            process = start(inputs[goal], whose, rng.randint(1, totals[whose]))
            out, _ = process.communicate(timeout=600)
            assert process.returncode == -signal.SIGKILL, out
            held = observe()
            assert held in states, "the kernel holds neither the old rules nor the new ones"
            seen.add(states.index(held) == goal)
            if whose == "writer":
                assert held == states[goal], "the writer has not ended its work"
            apply(inputs[goal])
            assert observe() == states[goal]
            now = goal
        assert "No changes" in apply(inputs[now])
        assert seen == {False, True}
