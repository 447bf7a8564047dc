"""kcompile bench in a lab: `kcompile lab`'s wires, one lab for all modes, and nothing of it left behind."""

import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from harness import modes
from harness.benchrun import BENCH_RUN
from kcompile_bench.kit.findings import findings_of
from kcompile_bench.kit.page import html
from kcompile_bench.kit.places import sweep_places
from kcompile_bench.kit.results import FILE, Results
from kcompile_bench.kit.scenario import PATHS

pytestmark = [pytest.mark.kernel, pytest.mark.together("bench")]


def left() -> set[str]:
    folders = ("/run/netns", "/run/kcompile", "/var/lib", tempfile.gettempdir())
    return {
        str(path)
        for folder in folders
        for name in ("*kcbench-*", "kcompile-bench-*")
        for path in Path(folder).glob(name)
    }


def bench(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [
        *BENCH_RUN,
        "--place",
        "lab",
        "--output",
        str(folder),
        "--services",
        "1",
    ]
    command += ["--measure", "connect", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_modes_take_turns_in_a_lab(tmp_path: Path):
    before = left()
    present = [
        mode for mode in ("nftables", "iptables-legacy", "xdp") if mode == "xdp" or not modes.missing(mode)
    ]
    process = bench(
        tmp_path, "--rounds", "2", *(word for mode in (*present, "linear") for word in ("--mode", mode))
    )
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert left() <= before
    results = Results.read(tmp_path)
    findings = findings_of(results)
    assert results.environment["place"].startswith("kcompile lab")
    assert set(present) - set(findings.modes) <= {"xdp"}, findings.absent
    assert "nothing would take these rules out again" in findings.absent["linear"]
    (stage,) = findings.stages.values()
    assert stage.name == "1x1 connect"  # the server is one pod
    assert stage.rounds == 2
    assert stage.troubles() == []
    measured = {condition.path for condition in stage.conditions if condition.mode in findings.modes}
    assert {"pod-clusterip", "outside-nodeport", "outside-nodeport-far"} <= measured <= set(PATHS)
    page = html(findings)
    assert "192.0.2.10, the rules" in page
    assert "There is one such cluster" in page


def test_a_lab_whose_run_was_killed_is_swept_away(tmp_path: Path):
    before = left()
    process = bench(tmp_path, "--mode", "nftables")
    deadline = time.monotonic() + 60
    while not (tmp_path / FILE).exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    try:
        assert left() > before
    finally:
        sweep_places()
    assert left() <= before
