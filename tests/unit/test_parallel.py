"""The suite on several CPUs (plugins/parallel.py): each test reported once, units kept together, one that
wants to be alone left alone.
"""

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plugins.parallel import Turns

TESTS = Path(__file__).resolve().parents[1]
INI = f"""\
[pytest]
pythonpath = {TESTS}
addopts = -p plugins.no_silent_skips -p plugins.machines -p plugins.parallel -p no:cacheprovider
markers =
    kernel: x
    ipvs_kernel: x
    tcg: x
"""
SAMPLE = """\
import os
import time
from pathlib import Path

import pytest

HERE = Path(os.environ["SAMPLE"])


@pytest.fixture(autouse=True)
def busy(request):
    mark = HERE / request.node.name
    mark.write_text(os.environ.get("PYTEST_XDIST_WORKER", "none"))
    yield
    mark.rename(HERE / f"done {request.node.name}")


@pytest.fixture(scope="module")
def shared():
    return os.getpid()


@pytest.mark.alone
@pytest.mark.parametrize("number", range(2))
def test_alone(number):
    for _ in range(20):
        running = [path.name for path in HERE.iterdir() if not path.name.startswith("done")]
        assert running == [f"test_alone[{number}]"]
        time.sleep(0.01)


@pytest.mark.kernel
@pytest.mark.parametrize("number", range(20))
def test_beside(number):
    time.sleep(0.02)


@pytest.mark.kernel
@pytest.mark.parametrize("number", range(5))
def test_set_up_together(number, shared):
    pass


@pytest.mark.kernel
@pytest.mark.together("name")
@pytest.mark.parametrize("number", range(5))
def test_together(number):
    pass


def test_fails():
    assert os.environ.get("NEVER")


def test_skips():
    pytest.skip("not here")
"""


def run(folder: Path, *options: str, ci: str = "") -> tuple[int, str]:
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_sample.py").write_text(SAMPLE)
    marks = folder / "marks"
    marks.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", *options],
        cwd=folder,
        env=environment | {"CI": ci, "SAMPLE": str(marks)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def workers_of(folder: Path, test: str) -> set[str]:
    return {path.read_text() for path in (folder / "marks").glob(f"done {test}*")}


@pytest.mark.parametrize("options", [["-n2"], ["-n0"]], ids=" ".join)
def test_each_test_is_reported_once_and_alone_where_it_asks_for_that(tmp_path: Path, options: list[str]):
    code, text = run(tmp_path, *options)
    assert code == 1, text
    assert re.search(r"^1 failed, 32 passed, 1 skipped in ", text, re.MULTILINE), text
    assert len(re.findall(r"^PASSED test_sample.py::", text, re.MULTILINE)) == 32
    if options == ["-n2"]:
        assert workers_of(tmp_path, "test_beside") == {"gw0", "gw1"}
    assert len(workers_of(tmp_path, "test_set_up_together")) == 1
    assert len(workers_of(tmp_path, "test_together")) == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["-k", "together"], 0, "10 passed"),
        (["-k", "nothing"], 5, "no tests ran"),
        (["-x", "-k", "fails or skips"], 1, "1 failed"),
    ],
)
def test_options_and_exit_codes_are_the_usual_ones(tmp_path: Path, options: list[str], code: int, said: str):
    found, text = run(tmp_path, "-n2", *options)
    assert found == code, text
    assert said in text


def test_a_skip_fails_in_ci_on_a_worker_too(tmp_path: Path):
    code, text = run(tmp_path, "-n2", "-k", "skips", ci="true")
    assert code == 1
    assert "test_skips may not skip in CI: " in text


def test_who_waits_to_be_alone_is_not_passed_by(tmp_path: Path):
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(contextlib.closing(Turns(tmp_path))) for _ in range(3))
        assert order_of(first, second, third, tmp_path / "door.lock") == ["first", "alone", "late"]


def order_of(first: Turns, second: Turns, third: Turns, door: Path) -> list[str]:
    """A test runs, one that wants to be alone comes, and then a third."""
    order: list[str] = []

    def alone() -> None:
        with second.alone():
            order.append("alone")

    def late() -> None:
        with third.beside():
            order.append("late")

    with first.beside():
        waits = threading.Thread(target=alone)
        waits.start()
        while free(door):
            time.sleep(0.001)
        comes = threading.Thread(target=late)
        comes.start()
        order.append("first")
    waits.join()
    comes.join()
    return order


def free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
