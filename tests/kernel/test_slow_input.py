"""Input that takes its time: it is read and checked before the node's lock is taken, and what needs the lock
is read under it.
"""

import contextlib
import fcntl
import json
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.onenode import fresh, service, services, text
from kcompile.kernel.lock import locked

pytestmark = pytest.mark.kernel


@pytest.fixture
def node(tmp_path):
    with fresh(tmp_path) as node:
        yield node


def reading(process: subprocess.Popen[str], first: str) -> None:
    """Give the process the `first` part of its input, and return once it has taken it."""
    assert process.stdin
    process.stdin.write(first)
    process.stdin.flush()
    wait_for(lambda: _waiting_bytes(process.stdin.fileno()) == 0)


def _waiting_bytes(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def wait_for(what: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("verb", ["apply", "plan", "diff", "delete"])
def test_whoever_is_still_reading_holds_no_lock(node, verb):
    node.apply(*services(3))
    given = text(*services(2))
    with node.start(verb, "-f", "-") as waiting:
        reading(waiting, given[:20])
        with locked(node.lock, wait=0.0):
            pass
        assert "Applied" in node.apply(*services(4)).stdout
        output, errors = waiting.communicate(given[20:], timeout=60)
    assert waiting.returncode == (1 if verb == "diff" else 0), errors
    assert "Deleted" in output if verb == "delete" else "10.96.0.4" in output, (
        "what was applied meanwhile goes"
    )


def test_bad_input_is_said_while_another_holds_the_lock(node):
    with locked(node.lock):
        started = time.monotonic()
        for given, words in (
            ("kind: [", "bad YAML"),
            ("", "no Service"),
            ("kind: service\napiVersion: v1", "did you mean"),
        ):
            done = node.run("apply", "-f", "-", given=given)
            assert (done.returncode, done.stdout) == (2, "")
            assert words in done.stderr
        assert time.monotonic() - started < 30, "it waited for the lock"


def test_allocations_are_read_under_the_lock(node):
    """What another apply allocates while this one waits for the lock counts."""
    state = node.folder / "allocations.json"
    with node.start("apply", "-f", "-", "--state", str(state)) as waiting:
        reading(waiting, "")
        with locked(node.lock):
            reading(waiting, text(service("web", None)))
            waiting.stdin.close()
            waiting.stdin = None
            wait_for(lambda: node.lock / "lock" in opened(waiting.pid), 20)
            state.write_text(json.dumps({"version": 1, "clusterIPs": {"demo/web": ["10.96.7.7"]}}))
        _, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, errors
    (shown,) = node.shown()
    assert shown["address"] == "10.96.7.7"


def opened(pid: int) -> set[Path]:
    """The files that a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(entry.readlink())
    return found
