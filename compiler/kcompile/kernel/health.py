"""The health check responder: one process a network namespace that answers every healthCheckNodePort.

A cloud load balancer asks each node's healthCheckNodePort as long as the Service lives. So `apply` starts
this process when there are such ports, signals changes to it, and `delete` ends it. Answers are kube-proxy's
(pkg/proxy/healthcheck/service_health.go): 200 with local ready endpoints, else 503, and a JSON body.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import spawn
from ..files import open_unlinked, read_private, remove_file, write_whole
from ..ir.model import HealthCheck
from ..notices import Notice
from . import netns
from .kept import keep, kept
from .responder import Responder

__all__ = ["running", "serve", "unanswered"]

_CHECKS, _PID, _ERRORS = "health.json", "health.pid", "health.errors"
_START_SECONDS = 5.0
_LOOK_SECONDS = 5.0


def running(directory: Path) -> list[HealthCheck]:
    """The checks that a live responder of `directory` answers; none where it doesn't run."""
    return _checks(directory) if _pid(directory) is not None else []


def unanswered(directory: Path) -> list[HealthCheck]:
    """The checks of a responder of `directory` that has died; none where it runs, or was ended by us."""
    return _checks(directory) if _pid(directory) is None else []


def _checks(directory: Path) -> list[HealthCheck]:
    return kept(directory / _CHECKS, list[HealthCheck]) or []


def serve(directory: Path, checks: Sequence[HealthCheck]) -> list[Notice]:
    """Let the responder answer exactly `checks`: start it, signal it, or end it where there are none.

    Returns a warning for each port that it can't listen on.
    """
    pid = _pid(directory)
    if not checks:
        if pid is not None:
            _end(pid)
        for name in (_CHECKS, _PID, _ERRORS):
            remove_file(directory / name)
        return []
    keep(directory / _CHECKS, sorted(checks, key=lambda c: c.port))
    (directory / _ERRORS).unlink(missing_ok=True)
    if pid is None:
        command, null = spawn.python("kcompile.kernel.health", str(directory)), subprocess.DEVNULL
        spawn.popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)
    else:
        os.kill(pid, signal.SIGHUP)
    _wait(lambda: (directory / _ERRORS).exists())
    try:
        failed = json.loads(read_private(directory / _ERRORS))
    except FileNotFoundError:
        return [Notice("health-port", "the health check responder did not start; the next apply tries again")]
    return [Notice("health-port", f"health check port {line}") for line in failed]


def _pid(directory: Path) -> int | None:
    """The responder's pid, None where it doesn't run: it holds a lock on its pid file while it does."""
    try:
        with open(directory / _PID, opener=_unlinked) as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(f.read() or 0) or None
    except (FileNotFoundError, PermissionError):
        pass
    return None


def _end(pid: int) -> None:
    """End the responder, and wait until it has: its ports are free then."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            select.select([fd], [], [], _START_SECONDS)
        finally:
            os.close(fd)


def _unlinked(path: str, flags: int) -> int:
    return open_unlinked(Path(path), flags)


def _wait(done: Any) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def _respond(directory: Path) -> None:
    """The responder's main loop: lock the pid file, serve the checks of the file, reload it on SIGHUP."""
    wake, signalled = socket.socketpair()
    signalled.setblocking(False)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # each writes a byte to `signalled`
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    named = bool(netns.names())
    with open(directory / _PID, "a+", opener=_unlinked) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        responder = Responder(wake)
        while True:
            checks = {c.port: c for c in _checks(directory)}
            write_whole(directory / _ERRORS, json.dumps(responder.update(checks)).encode(), private=True)
            while not (got := responder.turn(_LOOK_SECONDS)):
                if named and not netns.names():  # deleted (ip netns del): nobody can ask or end us any more
                    return
            if signal.SIGTERM in got:
                return


if __name__ == "__main__":
    _respond(Path(sys.argv[1]))
