"""Tests that run in a machine are reported as if they had run here (plugins/machines.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")
}

SETTINGS = f"""\
[pytest]
pythonpath = {TESTS}
addopts = -p plugins.machines -p plugins.parallel -p no:cacheprovider
markers =
    ipvs_kernel: x
    kernel: x
"""

MIXED = """\
import os
import pytest

here = os.uname().nodename

@pytest.mark.ipvs_kernel
@pytest.mark.parametrize("text", ["a b::c", "d[e]"])
def test_passes(text, tmp_path):
    assert here == "uml"
    (tmp_path / "file").write_text(text)

@pytest.mark.ipvs_kernel
def test_fails():
    print("seen inside")
    assert here == "elsewhere"

@pytest.mark.kernel
@pytest.mark.parametrize("mode", ["ipvs", "nftables"])
def test_mode(mode):
    assert (here == "uml") == (mode == "ipvs")

@pytest.mark.ipvs_kernel
def test_skips():
    pytest.skip("because")

@pytest.fixture
def broken():
    raise LookupError("not set up")

@pytest.mark.ipvs_kernel
def test_errs(broken):
    pass

@pytest.mark.parametrize("target", ["ipvs"])
def test_stays(target):
    assert here != "uml"
"""

CRASH = """\
import pytest
import time
from pathlib import Path

pytestmark = pytest.mark.ipvs_kernel

def test_good(): pass
def test_crash(): Path("/proc/sysrq-trigger").write_text("c")
def test_later(): pass
"""

HANG = CRASH.replace('Path("/proc/sysrq-trigger").write_text("c")', "time.sleep(1000)")


def run_pytest(folder: Path, tests: str, *options: str) -> tuple[int, str]:
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_sample.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *options, "test_sample.py"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def lines(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(words)]


needs_a_machine = pytest.mark.skipif(
    Path("/proc/net/ip_vs").exists(), reason="this kernel has IPVS: nothing goes elsewhere"
)


on_workers = pytest.mark.parametrize("workers", ["-n0", "-n2"])


@needs_a_machine
@on_workers
def test_tests_of_a_machine_are_reported_as_usual(tmp_path: Path, workers: str):
    code, text = run_pytest(tmp_path, MIXED, workers)
    assert code == 1, text
    assert "1 failed, 5 passed, 1 skipped, 1 error in" in text
    assert sorted(lines(text, "PASSED")) == [
        "PASSED test_sample.py::test_mode[ipvs]",
        "PASSED test_sample.py::test_mode[nftables]",
        "PASSED test_sample.py::test_passes[a b::c]",
        "PASSED test_sample.py::test_passes[d[e]]",
        "PASSED test_sample.py::test_stays[ipvs]",
    ]
    assert lines(text, "SKIPPED") == ["SKIPPED [1] test_sample.py:24: because"]
    assert "seen inside" in text
    assert "E       AssertionError: assert 'uml' == 'elsewhere'" in text
    assert "LookupError: not set up" in text


@needs_a_machine
def test_options_that_end_early_and_select(tmp_path: Path):
    code, text = run_pytest(tmp_path, MIXED, "-x", "-k", "fails or skips or stays")
    assert code == 1
    assert "1 failed, 1 passed, 5 deselected" in text
    code, text = run_pytest(tmp_path, MIXED, "-m", "not ipvs_kernel", "--machine", "uml")
    assert "2 failed, 6 deselected" in text  # not being in a machine is what they test
    code, text = run_pytest(tmp_path, MIXED, "--machine", "here", "-k", "passes")
    assert "2 failed, 6 deselected" in text


@needs_a_machine
@on_workers
def test_a_crash_fails_the_tests_that_the_machine_held(tmp_path: Path, workers: str):
    code, text = run_pytest(tmp_path, CRASH, workers)
    assert code == 1
    assert "2 failed, 1 passed" in text
    assert "test_sample.py::test_crash was running in a machine (uml) that ended" in text
    assert "Sysrq" in text or "sysrq" in text
    assert "test_sample.py::test_later was not run by a machine (uml) that ended" in text


@needs_a_machine
def test_a_machine_that_hangs_fails_its_tests(tmp_path: Path):
    code, text = run_pytest(tmp_path, HANG, "--machine-patience", "10")
    assert code == 1
    assert "the machine was stopped: nothing happened in it for 10 s" in text
    assert "test_sample.py::test_later was not run by" in text
