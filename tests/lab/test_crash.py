"""``lab up`` killed at any point, and ``lab down`` leaves no namespace, process, mount or file."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import modes, netns, steps
from harness.clusters import Cluster, cluster
from harness.labkills import VICTIMS, process_of, round_of
from kcompile.kernel.netns import entered
from kcompile.lab import netns as lab_netns

pytestmark = pytest.mark.kernel
KILLS = 2


@pytest.fixture(autouse=True)
def _possible():
    if reason := modes.missing("nftables"):
        pytest.skip(reason)


def begun(lab: Cluster, step: int, file: Path, *words: str) -> int:
    """Run ``lab WORDS``, killed at change number `step` (harness/steps.py; 0 is never); the exit status."""
    process = steps.start("changes", step, file, ["lab", *words], lab.environment)
    process.communicate()
    return process.returncode


def test_killed_anywhere(web: str, tmp_path: Path):
    file = tmp_path / "steps"
    with cluster(tmp_path / "whole") as lab:
        assert begun(lab, 0, file, "up", "-f", web) == 0
    count = int(file.read_text())
    some = 0
    for part in range(1, KILLS + 1):
        with cluster(tmp_path / str(part)) as lab:
            step = max(1, count * part // (KILLS + 1))
            assert begun(lab, step, file, "up", "-f", web) == -signal.SIGKILL
            some += bool(lab.left())
            lab.run("down")
            assert lab.left() == []
    assert some >= KILLS // 2, "the kills came before there was anything to leave"


def test_a_lab_whose_process_was_killed_starts_again(web: str, tmp_path: Path):
    with cluster(tmp_path, "-f", web) as lab:
        os.kill(process_of(lab), signal.SIGKILL)
        said = lab.run("scale", "web", "2", code=2)
        assert f"lab {lab.name} doesn't run: kcompile lab up --name {lab.name} starts it again" in said
        assert lab.name in lab.run("list")
        lab.run("up", "-f", web)
        assert [pod["state"] for pod in lab.pods("web-")] == ["ready"] * 3


@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_is_killed_down_leaves_nothing_and_up_works_again(victim: str, web: str, tmp_path: Path):
    """More of it: bench/trials/lab_kills.py."""
    with cluster(tmp_path) as lab:
        assert round_of(lab, victim, web, random.Random(victim)) == []


def test_down_of_a_working_lab_whose_files_are_gone(web: str, tmp_path: Path):
    import shutil

    with cluster(tmp_path, "-f", web) as lab:
        shutil.rmtree(lab.run_directory)
        lab.run("status", code=2)
        lab.run("down")
        assert lab.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_up_leaves_nothing(web: str, tmp_path: Path, number: int):
    with cluster(tmp_path) as lab:
        process = subprocess.Popen(
            lab.command("up", "-f", web),
            env=lab.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not [1 for line in lab.left() if line.startswith("kclab.")]:
            time.sleep(0.005)
        process.send_signal(number)
        assert process.wait() != 0
        assert lab.left() == []


def test_who_takes_a_lab_down_from_within_survives_it():
    """As ``lab up`` does when ^C finds it in one of its namespaces."""
    with netns.group(["inside"]) as names, entered(names["inside"]):
        other = subprocess.Popen(["sleep", "60"])
        try:
            assert lab_netns.processes([names["inside"]]) == {other.pid: names["inside"]}
            lab_netns.kill_processes([names["inside"]])
            assert other.wait(10) == -signal.SIGKILL
        finally:
            other.kill()
            other.wait()


def test_down_of_nothing(tmp_path: Path):
    with cluster(tmp_path) as lab:
        assert lab.run("down") == f"There is no lab {lab.name}.\n"
