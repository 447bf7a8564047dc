"""Runs a command in a test machine: ``python -m uml [options] -- CMD...``, and `Machine` for programs.

The command is root there, in a fresh /run, with `lo` up and no other network; stdin is empty, stdout and
stderr go to the caller's. The exit status is the command's; 124 when the time ran out, 125 when the machine
did not come up or died.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from .kernels import KINDS, TERMINALS, MachineError, bootable

__all__ = ["Machine", "MachineError", "main"]

TIMED_OUT, DIED = 124, 125
_count = itertools.count()
GRACE = 5.0
"""Seconds between asking a machine to stop and making it."""


class Machine:
    """A command in a machine of its own, a context manager: the machine is gone at the end, whatever
    happened.

    `writable` folders are the host's own; everything else that the command writes is lost. `memory` is in
    MiB. The machine is pinned to `cpu` (default: one that this process may use): User-mode Linux is several
    times faster when it does not wander.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        kind: str = "uml",
        writable: Sequence[Path] = (),
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        modules: Sequence[str] = (),
        memory: int = 1024,
        cpu: int | None = None,
        terminal: bool = False,
    ) -> None:
        self.kind, self.memory, self.terminal = kind, memory, terminal
        self.writable = [path.resolve(strict=True) for path in writable]
        self._request = [("argument", argument) for argument in command]
        self._request += [
            ("variable", f"{name}={value}") for name, value in (environment or os.environ).items()
        ]
        self._request += [("write", str(path)) for path in self.writable]
        self._request += [
            ("directory", str(directory or Path.cwd())),
            ("name", kind),
            ("modules", " ".join(modules)),
        ]
        if terminal:
            size = shutil.get_terminal_size()
            self._request.append(("terminal", f"{TERMINALS[kind]} {size.lines} {size.columns}"))
        cpus = sorted(os.sched_getaffinity(0))
        self.cpu = cpus[(os.getpid() + next(_count)) % len(cpus)] if cpu is None else cpu
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._relays: list[subprocess.Popen[bytes]] = []
        self._console: _Console | None = None

    def start(self, stdout: IO[bytes] | int = 1, stderr: IO[bytes] | int = 2) -> Self:
        """Boot it, the command's output going to these two files."""
        self._folder = folder = Path(tempfile.mkdtemp(prefix="machine-"))
        (folder / "request").write_bytes(
            b"".join(os.fsencode(f"{key}={value}") + b"\0" for key, value in self._request)
        )
        self._console = _Console() if self.terminal else None
        lines = [self._relay(stream) for stream in (stdout, stderr)]
        try:
            command = KINDS[self.kind](folder, self.writable, self.memory, lines, self.terminal)
            with (folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "TERM", "taskset", "--cpu-list", str(self.cpu), *command],
                    stdin=None if self.terminal else subprocess.DEVNULL,
                    stdout=None if self.terminal else log,
                    stderr=log,
                    pass_fds=lines,
                    start_new_session=not self.terminal,  # on a terminal it must stay in the foreground
                )
        finally:
            for fd in lines:
                os.close(fd)
        return self

    def _relay(self, stream: IO[bytes] | int) -> int:
        """The end of a pipe into `stream`: a machine may make what it gets non-blocking, or open it a second
        time.
        """
        out, line = os.pipe()
        self._relays.append(subprocess.Popen(["cat"], stdin=out, stdout=stream, start_new_session=True))
        os.close(out)
        return line

    def poll(self) -> bool:
        """Whether it is still running."""
        return self._process is not None and self._process.poll() is None

    def wait(self, timeout: float) -> int:
        """The command's exit status.

        TimeoutError after `timeout` seconds; MachineError for a machine that ended otherwise.
        """
        assert self._process
        assert self._folder
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"stopped after {timeout:g} s") from None
        for relay in self._relays:
            relay.wait()
        status = self._folder / "status"
        if status.exists() and (text := status.read_text().strip()):
            return int(text)
        raise MachineError(
            f"the machine ended without the command's exit status (its own: {code}):\n{self.log()}"
        )

    def log(self, lines: int = 25) -> str:
        """The end of the kernel's log."""
        try:
            text = (self._folder / "log").read_text(errors="replace") if self._folder else ""
        except FileNotFoundError:  # it was never started
            text = ""
        return "\n".join(text.replace("\r", "").splitlines()[-lines:])

    def stop(self) -> None:
        """End it now, if it still runs. The log stays until `close`."""
        process = self._process
        if not process:
            return
        for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
            if process.poll() is None:
                process.send_signal(number)
                try:
                    process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        if not self.terminal:
            _kill_session(process.pid)

    def close(self) -> None:
        """Stop it, let its last output through, and remove its folder."""
        self.stop()
        for relay in self._relays:
            relay.wait()
        if self._console:
            self._console.restore()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Console:
    """How this process's terminal was: a machine makes it raw and non-blocking."""

    def __init__(self) -> None:
        self._settings = termios.tcgetattr(0)
        self._flags = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (0, 1)]

    def restore(self) -> None:
        for fd, flags in enumerate(self._flags):
            fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        termios.tcsetattr(0, termios.TCSADRAIN, self._settings)


def _kill_session(session: int) -> None:
    """End what a killed User-mode Linux leaves: each of its programs is a process of the host's, in its
    session.
    """
    for _ in range(3):
        try:
            os.killpg(session, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.05)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m uml", description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "--machine",
        choices=list(KINDS),
        default="uml",
        help="uml: User-mode Linux; tcg: qemu, slow, has every mode",
    )
    parser.add_argument(
        "-t",
        "--time",
        type=float,
        default=600,
        metavar="SECONDS",
        help="stop it then, with exit status 124 (%(default)g)",
    )
    parser.add_argument(
        "-m", "--memory", type=int, default=1024, metavar="MIB", help="the machine's memory (%(default)s)"
    )
    parser.add_argument(
        "-w",
        "--write",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder that stays writable",
    )
    parser.add_argument(
        "-C", "--directory", type=Path, metavar="DIR", help="the working directory (this one)"
    )
    parser.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="load this kernel module first"
    )
    parser.add_argument("--cpu", type=int, metavar="N", help="the host's CPU to pin it to")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the kernel's log")
    parser.add_argument(
        "--terminal", action="store_true", help="the command gets this terminal, and all the time it wants"
    )
    parser.add_argument("command", nargs="+", metavar="CMD")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = options().parse_args(arguments)
    if given.terminal and not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("machine: --terminal needs one", file=sys.stderr)
        return DIED
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    kind, reason = bootable(given.machine)
    if reason:
        print(f"machine: {kind} instead of {given.machine}: {reason}", file=sys.stderr)
    try:
        machine = Machine(
            given.command,
            kind=kind,
            writable=given.write,
            directory=given.directory,
            modules=given.module,
            memory=given.memory,
            cpu=given.cpu,
            terminal=given.terminal,
        )
        with machine:
            try:
                return machine.start().wait(float("inf") if given.terminal else given.time)
            finally:
                if given.log:
                    given.log.write_text(machine.log(lines=100_000))
    except TimeoutError as error:
        print(f"machine: {error}", file=sys.stderr)
        return TIMED_OUT
    except (MachineError, OSError) as error:
        print(f"machine: {error}", file=sys.stderr)
        return DIED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
