"""drive.c: compiled with cc at its first use, cached, started at a role."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, Self

from kcompile import spawn
from kcompile.errors import KcompileError, UnsupportedError

from ..generate import TARGET_PORT
from .cluster import Cluster, Target

__all__ = ["Server", "cpus", "finish", "program", "run"]

_SOURCE = Path(__file__).with_name("drive.c")
_FLAGS = ("-O2", "-Wall", "-Wextra")
_UNTIL_END = ("sh", "-c", '"$@" >/dev/null 2>&1 & read -r _; kill $!', "sh")
"""Runs a command until its own stdin ends, however far away that is."""


@cache
def program() -> str:
    """The path of the compiled driver. Raises UnsupportedError without a C compiler, or where it fails."""
    compiler = os.environ.get("CC") or "cc"
    if not spawn.find(compiler):
        raise UnsupportedError(
            f"{compiler} is missing: the driver of the bench kit is in C (apt-get install gcc libc6-dev)"
        )
    source = _SOURCE.read_bytes()
    version = spawn.run([compiler, "-dumpfullversion", "-dumpmachine"], capture_output=True, text=True).stdout
    name = hashlib.sha256(source + version.encode() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()).absolute() / "kcompile-bench"
    )
    built = folder / f"drive-{name}"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            target = Path(scratch, "drive")
            done = spawn.run(
                [compiler, *_FLAGS, "-o", str(target), str(_SOURCE)], capture_output=True, text=True
            )
            if done.returncode:
                raise UnsupportedError(
                    f"{compiler} can't build the bench kit's driver: {done.stderr.strip()[:300]}"
                )
            target.replace(built)
    return str(built)


@cache
def cpus() -> tuple[int, int]:
    """The processors of client and server: two if this process may use two, else the same one."""
    mine = sorted(os.sched_getaffinity(0))
    return mine[-1], mine[-2] if len(mine) > 1 else mine[-1]


def finish(process: subprocess.Popen[str], timeout: float, what: str) -> str:
    """The output of `process`. Raises KcompileError where it failed, or took longer than `timeout` seconds
    and was killed.
    """
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise KcompileError(f"{what}: nothing after {timeout:g} s") from None
    if process.returncode:
        raise KcompileError(f"{what}: exit {process.returncode}: {(err or out).strip()[:300]}")
    return out


def run(
    cluster: Cluster, verb: str, target: Target, *arguments: object, timeout: float = 60
) -> dict[str, Any]:
    """Run the driver towards `target`; returns its output, as drive.c describes it."""
    command = [
        cluster.driver(target.role),
        verb,
        target.address,
        str(target.port),
        target.source,
        str(cluster.cpus[0]),
    ]
    found: dict[str, Any] = json.loads(
        finish(cluster.start(target.role, [*command, *map(str, arguments)]), timeout, f"drive {verb}")
    )
    return found


class Server(AbstractContextManager["Server"]):
    """A server on the pods' port while the ``with`` block lasts: the driver, or `command`."""

    def __init__(self, cluster: Cluster, *, lazy: bool = False, command: tuple[str, ...] = ()) -> None:
        self._own = not command
        arguments = (
            cluster.driver("server"),
            "serve",
            str(TARGET_PORT),
            *(("lazy",) if lazy else ()),
            str(cluster.cpus[1]),
        )
        self._process = cluster.start(
            "server", (*_UNTIL_END, *command) if command else arguments, stdin=subprocess.PIPE
        )
        if self._own and not self._process.stdout.readline():  # type: ignore[union-attr]
            raise KcompileError(f"drive serve: {self._process.communicate()[1].strip()[:300]}")

    def account(self) -> dict[str, int]:
        """Nanoseconds of CPU and connections so far; a lazy server accepts, and closes, what has come."""
        if not self._own:
            return {"cpu": 0, "accepted": 0}
        self._process.stdin.write("\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        found: dict[str, int] = json.loads(self._process.stdout.readline())  # type: ignore[union-attr]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its stdin, which ends it
