"""A lab whose parts are killed at random moments, and what is left of it after ``kcompile lab down``."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from kcompile.lab import netns

from .clusters import Cluster

__all__ = ["VICTIMS", "process_of", "round_of"]

VICTIMS = ("up", "process", "container")
_LONGEST = 4.0  # seconds in which `up` is killed at some moment


def process_of(lab: Cluster) -> int:
    """The pid of the lab's process; 0 where there is none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"kcompile.lab.process" in words and lab.name.encode() in words:
                return int(path.parent.name)
    return 0


def round_of(lab: Cluster, victim: str, manifests: str, rng: random.Random) -> list[str]:
    """Kill `victim` of a lab that comes up, or is up; then `up` again, then `down`.

    Returns what is left of the lab after `down`. Raises AssertionError where `up` doesn't work again.
    """
    with subprocess.Popen(
        lab.command("up", "-f", manifests),
        env=lab.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        if victim == "up":
            time.sleep(rng.uniform(0.1, _LONGEST))
            up.kill()
        elif victim == "process":
            moment = time.monotonic() + rng.uniform(0.3, _LONGEST)
            while not (pid := process_of(lab)) or time.monotonic() < moment:
                assert up.poll() is None or pid, "up ended without a process"
                time.sleep(0.02)
            _kill(pid)
        up.wait()
    if victim == "container":
        names = [name for name in netns.of_lab(lab.name) if ".pod." in name]
        _kill(rng.choice(sorted(netns.processes(names))))
        time.sleep(rng.uniform(0, 0.5))
    again = rng.random() < 0.5
    if again:
        lab.run("up", "-f", manifests)
        assert all(pod["state"] == "ready" for pod in lab.pods())
    lab.run("down")
    return lab.left()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
