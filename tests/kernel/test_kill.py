"""kill -9 in the middle of an apply of 10,000 Services: the kernel holds all old or all new, and the next apply repairs.

Ten kills a mode, at random moments from the start of the command to a little after its usual end.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import netns
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.lock import locked

pytestmark = pytest.mark.kernel
SERVICES, KILLS = 10_000, 10


def manifests(target_port: int) -> str:
    """10,000 Services with one endpoint each; every backend differs between two `target_port`s."""
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
    env = {**os.environ, "KCOMPILE_RUN_DIR": str(tmp_path / "run"), "KCOMPILE_STATE_DIR": str(tmp_path / "state")}
    with netns.group(["kill"]) as names:
        netns_name = names["kill"]

        def start(path: Path) -> subprocess.Popen[bytes]:
            command = [
                sys.executable,
                "-m",
                "kcompile",
                "apply",
                "--mode",
                mode,
                "-f",
                str(path),
                "--node",
                "node-a",
                "--netns",
                netns_name,
            ]
            return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

        def apply(path: Path) -> str:
            process = start(path)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err.decode()
            return out.decode()

        def observe() -> dict:
            with netns.enter(netns_name), locked(netns.run_directory(tmp_path / "run", netns_name)):
                return driver_for(mode).observe()

        apply(inputs[0])
        states = [observe()]
        began = time.monotonic()
        apply(inputs[1])
        usual = time.monotonic() - began
        states.append(observe())
        assert states[0] != states[1]
        assert len(driver_for(mode).target.frontends(states[0])) == SERVICES

        now, seen = 1, set()
        for _ in range(KILLS):
            goal = 1 - now
            process = start(inputs[goal])
            time.sleep(rng.uniform(0.1, 1.1) * usual)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            held = observe()
            assert held in states, "the kernel holds neither the old rules nor the new ones"
            seen.add(states.index(held) == goal)
            apply(inputs[goal])
            assert observe() == states[goal]
            now = goal
        assert "No changes" in apply(inputs[now])
        assert seen, "no kill was made"
