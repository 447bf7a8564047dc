"""The health check responder: one small process a network namespace that answers every healthCheckNodePort.

`apply` is a command that ends, yet a cloud load balancer asks each node's healthCheckNodePort for as long as the Service
lives. So apply leaves this process behind while there are such ports, tells it of changes, and delete ends it. Answers are
kube-proxy's (pkg/proxy/healthcheck/service_health.go): 200 with local ready endpoints, else 503, and a JSON body.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..ir.model import HealthCheck
from ..notices import Notice
from . import netns
from .responder import Responder

__all__ = ["running", "serve", "unanswered"]

_CHECKS, _PID, _ERRORS = "health.json", "health.pid", "health.errors"
_START_SECONDS = 5.0
_LOOK_SECONDS = 5.0


def running(directory: Path) -> list[HealthCheck]:
    """The checks that a live responder of `directory` answers; none where it doesn't run."""
    return _checks(directory) if _pid(directory) is not None else []


def unanswered(directory: Path) -> list[HealthCheck]:
    """The checks that the responder of `directory` was to answer when it died; none where it runs, or was ended."""
    return _checks(directory) if _pid(directory) is None else []


def _checks(directory: Path) -> list[HealthCheck]:
    try:
        return msgspec.json.decode((directory / _CHECKS).read_bytes(), type=list[HealthCheck])
    except (FileNotFoundError, PermissionError, msgspec.DecodeError):
        return []


def serve(directory: Path, checks: Sequence[HealthCheck]) -> list[Notice]:
    """Have exactly `checks` answered: starts, tells or ends the responder. Returns a warning for each port it can't get."""
    directory.mkdir(parents=True, exist_ok=True)
    pid = _pid(directory)
    if not checks:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            _wait(lambda: _pid(directory) is None)
        for name in (_CHECKS, _PID, _ERRORS):
            (directory / name).unlink(missing_ok=True)
        return []
    _write(directory / _CHECKS, msgspec.json.encode(sorted(checks, key=lambda c: c.port)))
    (directory / _ERRORS).unlink(missing_ok=True)
    if pid is None:
        command = [sys.executable, "-m", "kcompile.kernel.health", str(directory)]
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH", "")) if p)
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
        )
    else:
        os.kill(pid, signal.SIGHUP)
    _wait(lambda: (directory / _ERRORS).exists())
    try:
        failed = json.loads((directory / _ERRORS).read_bytes())
    except FileNotFoundError:
        return [Notice("health-port", "the health check responder did not start; the next apply tries again")]
    return [Notice("health-port", f"health check port {line}") for line in failed]


def _pid(directory: Path) -> int | None:
    """The responder's pid. It holds a lock on its pid file for life, so a stale file is never taken for a process."""
    try:
        with (directory / _PID).open() as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(f.read() or 0) or None
    except (FileNotFoundError, PermissionError):
        pass
    return None


def _wait(done: Any) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _respond(directory: Path) -> None:
    """The responder's life: hold the lock, serve what the file says, read it again on SIGHUP."""
    wake, signalled = socket.socketpair()
    signalled.setblocking(False)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # what counts is the byte that each writes
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    with (directory / _PID).open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        responder = Responder(wake)
        while True:
            checks = {c.port: c for c in msgspec.json.decode((directory / _CHECKS).read_bytes(), type=list[HealthCheck])}
            _write(directory / _ERRORS, json.dumps(responder.update(checks)).encode())
            while not (got := responder.turn(_LOOK_SECONDS)):
                if not _namespace_is_named(directory):
                    return
            if signal.SIGTERM in got:
                return


def _namespace_is_named(directory: Path) -> bool:
    """False when the namespace that `directory` is for has been deleted (ip netns del): nobody can ask or end us any more."""
    prefix, _, name = directory.name.partition("netns-")
    if prefix or not name:
        return True
    try:
        return (netns.NETNS_DIR / name).stat().st_ino == int(netns.identity())
    except OSError:
        return False


if __name__ == "__main__":
    _respond(Path(sys.argv[1]))
