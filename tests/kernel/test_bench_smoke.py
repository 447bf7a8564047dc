"""The benchmarks still run: every suite and the latency command at twenty Services, and the report reads what
they write.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import modes
from kcompile_bench.generate import Scale
from kcompile_bench.held.bare import MODES
from kcompile_bench.held.measure import STEPS, measure, table

pytestmark = [pytest.mark.kernel, pytest.mark.together("bench")]
ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bench")}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", list(modes.MODES))
def test_every_suite_runs(mode: str):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    options = ("--scale", "20x2", "--bench-mode", mode, "--benchmark-disable", "-q", "-p", "no:cacheprovider")
    assert " passed" in run("pytest", "bench/suites", *options)


def test_latency_is_measured_and_reported(tmp_path: Path):
    mode = next(mode for mode in modes.MODES if not modes.missing(mode))
    result = tmp_path / "latency.json"
    options = ("--services", "20", "--blocks", "2", "--connections", "5", "--warmup", "1")
    printed = run("kcompile_bench.latency", *options, "--mode", mode, "--peer", "none", "--json", str(result))
    assert f"| {mode} | last VIP |" in printed
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    run("kcompile_bench.report", "--results", str(tmp_path), "--into", str(page))
    text = page.read_text()
    assert f"| connect, {mode}, last VIP |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text


def test_one_change_is_measured_beside_the_bare_tool_or_messages():
    asked = [mode for mode in MODES if not modes.missing(mode)]
    rows = [row for mode in asked for row in measure(mode, Scale(20, 2), 2)]
    assert all(len(row.agent) == len(row.bare) == 2 for row in rows)
    text = table(rows)
    assert all(f"| {mode} | {step} |" in text for mode in asked for step in STEPS)


def test_answers_of_the_name_server_are_counted():
    printed = run("kcompile_bench.dns", "--records", "300", "--count", "512")
    rows = [line.split() for line in printed.splitlines() if line[11:].startswith("kcompile ")]
    assert [" ".join(row[:2]) for row in rows] == ["UDP first", "UDP again", "TCP first", "TCP again"]
    assert all("lost)" not in row for row in rows)


def test_an_agent_is_measured_beside_an_api_server():
    mode = next(mode for mode in modes.MODES if not modes.missing(mode))
    short = ("--events", "2", "--pause", "0", "--idle", "0.1", "--settle", "0", "--bare", "1")
    printed = run("kcompile_bench.agent", "--scale", "20x2", "--mode", mode, *short)
    assert f"| {mode} | Service new or gone |" in printed
    assert "| SIGTERM |" in printed
