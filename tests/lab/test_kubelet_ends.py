"""What a pod costs, and what is left of a container, the spawner and a lab's process that were killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.kubelets import KubeletLab
from kcompile.lab import netns


def test_a_sleeping_pod_costs_little(lab: KubeletLab):
    """Its processes' share of memory, and what the lab's process grows by."""

    async def work() -> None:
        own = _resident(os.getpid())
        names = [f"sleep{number}" for number in range(10)]
        for name in names:
            lab.busybox(name, "exec sleep 100")
        await lab.until(lambda: all(map(lab.ready, names)))
        workers = [lab.kubelets.workers["default", name] for name in names]
        pids = [worker.containers[0].process.pid for worker in workers if worker.containers[0].process]
        each = (sum(map(_proportional, pids)) + max(_resident(os.getpid()) - own, 0)) / len(names)
        assert each < 3000, f"{each:.0f} KiB a pod"

    lab.run(work())


def _proportional(pid: int) -> int:
    return int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])


def _resident(pid: int) -> int:
    return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def test_a_killed_container_is_started_again_and_a_killed_spawner_leaves_nothing(lab: KubeletLab):
    async def work() -> None:
        lab.busybox("k", "exec sleep 100")
        await lab.until(lambda: lab.ready("k"))
        process = lab.kubelets.workers["default", "k"].containers[0].process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await lab.until(lambda: lab.container("k")["restartCount"] == 1 and lab.ready("k"))
        assert lab.container("k")["lastState"]["terminated"]["exitCode"] == 137
        spawner = lab.kubelets.runtime.pid
        started = set(netns.processes(netns.of_lab(lab.settings.name)))
        os.kill(spawner, signal.SIGKILL)
        await lab.until(lambda: lab.kubelets.runtime.pid not in (0, spawner), 5)
        left = started & set(netns.processes(netns.of_lab(lab.settings.name)))
        assert left == set()
        await lab.until(lambda: lab.container("k")["restartCount"] == 2)

    lab.run(work())


SCRIPT = """
import asyncio, os, sys
from kcompile.lab.kubelet.runtime import Runtime

async def main():
    runtime = Runtime(sys.argv[1])
    null = os.open("/dev/null", os.O_RDWR)
    process = await runtime.start({
        "netns": "/run/netns/" + sys.argv[1], "hostname": "x", "command": ["sh", "-c", "sleep 60 & sleep 60"],
        "env": dict(os.environ), "cwd": "", "user": "nobody", "groups": [], "cgroup": "", "tty": False,
        "prepare": "", "readOnly": False, "directory": sys.argv[2], "files": {}, "binds": [],
    }, [null, null, null])
    print(runtime.pid, process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_nothing_is_left_of_a_killed_lab_process(lab: KubeletLab, tmp_path: Path):
    name = netns.netns_name(lab.settings.name, "fabric")
    before = set(netns.processes([name]))
    command = [sys.executable, "-c", SCRIPT, name, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert set(pids) <= set(netns.processes([name]))
        process.kill()
    deadline = time.monotonic() + 5
    while set(netns.processes([name])) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert set(netns.processes([name])) <= before


def test_a_pod_replaced_under_its_name(lab: KubeletLab):
    async def work() -> None:
        old = lab.status("k")["podIP"]
        lab.client.delete("Pod", "default", "k", 0)
        lab.busybox("k", "exec sleep 100")
        await lab.until(lambda: lab.ready("k"))
        assert lab.status("k")["podIP"] != old
        assert lab.container("k")["restartCount"] == 0

    lab.run(work())
