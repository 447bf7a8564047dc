"""kcompile's command line, killed at a counted step of its work: when that is does not depend on how busy the
machine is.

    python -m harness.steps WHOSE STEP FILE ARGUMENTS of kcompile...

WHOSE steps are counted, and what is killed at number STEP (0 is never):

    command     the command's audit events (sys.addaudithook); the command is killed
    changes     those of its audit events that start a program, fork, or open a file for writing (no import
                does): the first is early in the command's own work. The command is killed
    writer      calls of C functions in the process that writes to the kernel (ADR 0005); the command is
                killed
    everything  the same; the command, the writer and all that the writer has started are killed
    agent       calls of C functions in the kernel thread of ``kcompile run``; the agent is killed

How many there were stands in FILE after a command that was not killed.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["Steps", "start"]

AGENT = "kcompile run"
"""What the kernel thread is called."""
TESTS = Path(__file__).resolve().parents[1]


def start(
    whose: str,
    step: int,
    file: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    **options: Any,
) -> subprocess.Popen[str]:
    """``kcompile ARGUMENTS``, to be killed at `step`; what it prints comes through a pipe."""
    command = [sys.executable, "-m", "harness.steps", whose, str(step), str(file), *arguments]
    places = os.pathsep.join(filter(None, (str(TESTS), environment.get("PYTHONPATH"))))
    return subprocess.Popen(
        command,
        env={**environment, "PYTHONPATH": places},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def _is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    """Of an audit event. Import opens its files with flags instead of a mode."""
    if event == "open":
        mode = arguments[1]
        return isinstance(mode, str) and any(letter in mode for letter in "wax+")
    return event in ("subprocess.Popen", "os.fork")


class Steps:
    """Counts, and kills."""

    def __init__(self, whose: str, step: int, file: Path) -> None:
        self._whose, self._step, self._file = whose, step, file
        self._command = os.getpid()
        self._count = 0

    def watch(self) -> None:
        """From now on."""
        if self._whose in ("command", "changes"):
            sys.addaudithook(self._event)
            atexit.register(self._say)
        elif self._whose == "agent":
            threading.setprofile(self._in_thread)
            atexit.register(self._say)
            self._leave, os._exit = os._exit, self._left  # how it ends in the midst of a sync
        else:
            os.register_at_fork(after_in_child=lambda: sys.setprofile(self._called))

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if os.getpid() != self._command:
            return
        if self._whose == "command" or _is_change(event, arguments):
            self._one()

    def _called(self, _frame: object, event: str, function: object) -> None:
        # the writer leads a session; no other child does
        if event != "c_call" or os.getsid(0) != os.getpid():
            return
        if function is os._exit:
            self._say()
            return
        self._one()

    def _in_thread(self, *_: object) -> None:
        """The first event of a thread."""
        sys.setprofile(self._in_agent if threading.current_thread().name == AGENT else None)

    def _in_agent(self, _frame: object, event: str, _function: object) -> None:
        if event == "c_call":
            self._one()

    def _left(self, status: int) -> NoReturn:
        self._say()
        self._leave(status)

    def _one(self) -> None:
        self._count += 1
        if self._count != self._step:
            return
        os.kill(self._command, signal.SIGKILL)
        if self._whose == "everything":
            os.killpg(os.getpid(), signal.SIGKILL)

    def _say(self) -> None:
        if os.getpid() == self._command or self._whose in ("writer", "everything"):
            self._file.write_text(f"{self._count}\n")


def main() -> None:
    from kcompile.cli import main as kcompile

    whose, step, file, *arguments = sys.argv[1:]
    Steps(whose, int(step), Path(file)).watch()
    sys.argv = ["kcompile", *arguments]
    kcompile()


if __name__ == "__main__":
    main()
