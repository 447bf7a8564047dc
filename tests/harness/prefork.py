"""kcompile's command line without the start of an interpreter: a process that has imported everything forks
for each command.

A start is most of a small command's time, the more so in User-mode Linux (tests/uml). What runs is the same
from ``main`` on, in a process of its own, with the environment, the folder and the output file that it was
given. `python -m kcompile` itself is what the tests of a terminal, of pipes and of examples start.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["run"]

# what commands import where they need it
_LAZY = ("yaml", "pyroute2.netlink.nfnetlink.nfctsocket", "importlib.resources.readers")
_XDP = "numpy"
"""What only mode xdp imports: loaded with the first such command, for User-mode Linux takes long to do so."""


class _Forker:
    """The process. It ends with this one, whose end of its standard input closes then."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.prefork"],
            env=os.environ
            | {"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # select() must see all that has not been read
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        atexit.register(self._end)

    def _end(self) -> None:
        self._requests.close()
        self._process.wait()
        self._answers.close()

    def run(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        files: Sequence[Path | str],
        timeout: float,
    ) -> int:
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            "files": [str(path) for path in files],
        }
        self._requests.write(json.dumps(request).encode() + b"\n")
        pid = int(self._answers.readline())
        if not select.select([self._answers], [], [], timeout)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._answers.readline()
            raise subprocess.TimeoutExpired(["kcompile", *arguments], timeout)
        return int(self._answers.readline())


@functools.cache
def _forker(pid: int) -> _Forker:  # noqa: ARG001 (one for each process that asks)
    return _Forker()


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    output: Path,
    timeout: float = 60.0,
    *,
    given: Path | str = os.devnull,
    errors: Path | None = None,
) -> int:
    """The exit status of ``kcompile ARGUMENTS`` in `folder`; what it prints goes to the file `output`.

    `given`: the file that it reads as its input. `errors`: where what it says goes instead.
    subprocess.TimeoutExpired where it took longer than `timeout` seconds; it is killed then.
    """
    files = given, output, output if errors is None else errors
    return _forker(os.getpid()).run(arguments, environment, folder, files, timeout)


def _serve() -> None:
    """Answer requests: the process id of each command, and then its exit status."""
    import kcompile

    for module in pkgutil.walk_packages(kcompile.__path__, "kcompile."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LAZY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a command would write to every object, and so copy its page
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "xdp" in request["arguments"]:
            importlib.import_module(_XDP)
        pid = os.fork()
        if pid == 0:
            _command(**request)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _command(arguments: list[str], environment: dict[str, str], folder: str, files: list[str]) -> None:
    """Never returns. `files`: for its three standard streams."""
    from kcompile.cli import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    given, output, errors = files
    reading, writing = (
        os.open(given, os.O_RDONLY),
        os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666),
    )
    saying = writing if errors == output else os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    streams = reading, writing, saying
    for source, target in zip(streams, range(3), strict=True):
        os.dup2(source, target)
    os.closerange(3, max(streams) + 1)
    sys.stdin, sys.stdout, sys.stderr = (
        open(fd, mode, closefd=False)  # noqa: SIM115
        for fd, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.argv = ["kcompile", *arguments]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
