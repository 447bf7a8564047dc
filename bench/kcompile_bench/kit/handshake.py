"""How long the kernel itself took from SYN_SENT to ESTABLISHED: the tracepoint sock:inet_sock_set_state
(include/trace/events/sock.h).

connect()'s own time has the system call in it and, on a busy machine, the wait for a processor afterwards;
this one has neither. bcc is Debian's python3-bpfcc. Where the running kernel has no headers, as in
containers, a folder of eight tiny ones does: the tracepoint's format comes from the kernel itself, and the
program includes nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Self

from kcompile import spawn
from kcompile.errors import UnsupportedError

from .histogram import Histogram

__all__ = ["Handshakes"]

_COUNTER = Path(__file__).with_name("handshake_counter.py")
_SYSTEM_PYTHON = "/usr/bin/python3"


@cache
def _python() -> str:
    """The path of a Python that has bcc: this one, or the system's."""
    if importlib.util.find_spec("bcc"):
        return sys.executable
    if (
        Path(_SYSTEM_PYTHON).exists()
        and not spawn.run([_SYSTEM_PYTHON, "-I", "-c", "import bcc"], capture_output=True).returncode
    ):
        return _SYSTEM_PYTHON
    raise UnsupportedError(
        "bcc is missing (apt-get install python3-bpfcc; the package of that name on PyPI is another program)"
    )


class Handshakes(AbstractContextManager["Handshakes"]):
    """Counts the handshakes of the driver's connections, on the whole machine, while the ``with`` block
    lasts.

    Raises UnsupportedError where the kernel or bcc can't.
    """

    def __init__(self) -> None:
        self._counter = spawn.popen(
            [_python(), "-I", str(_COUNTER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not self._counter.stdout.readline():  # type: ignore[union-attr]
            said = self._counter.communicate()[1].strip().splitlines() or ["nothing said"]
            raise UnsupportedError(f"the tracepoint program doesn't load: {said[-1]}")

    def read(self) -> Histogram:
        """The counts since the last call."""
        self._counter.stdin.write("\n")  # type: ignore[union-attr]
        self._counter.stdin.flush()  # type: ignore[union-attr]
        return Histogram(json.loads(self._counter.stdout.readline()))  # type: ignore[union-attr]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._counter.communicate()  # closes its stdin, which ends it
