"""Runs a command from a small process, since a child's peak memory counts what its parent had when it was
forked.

As a program of its own this module discards the output of the command that it is given, and prints one line
of JSON.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from kcompile import spawn

__all__ = ["Cost", "cost_of"]


class Cost(NamedTuple):
    """Start to exit."""

    wall: float
    cpu: float
    peak_mb: float


def cost_of(command: Sequence[str]) -> Cost:
    """Run `command` and say what it took. RuntimeError where it failed."""
    import json

    done = spawn.run(
        spawn.python("kcompile_bench.spawned", *spawn.located(command)), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return Cost(*json.loads(done.stdout))


def _main() -> None:
    start = time.perf_counter()
    pid = os.posix_spawn(
        sys.argv[1],
        sys.argv[1:],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - start
    print([wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024])
    raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _main()
