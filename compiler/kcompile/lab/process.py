"""The lab's process: API server, controllers, kubelets and the agents of all nodes, in one event loop.

A program of its own. ``lab up`` starts it in the fabric's namespace with two descriptors: a socket that
listens in the machine's namespace, for the user's kubectl, and a pipe in which it tells how far it is, in
lines of JSON: ``{"say": TEXT}``, then ``{"up": true}``, or ``{"failed": TEXT, "status": EXIT}`` and its end.

SIGTERM ends it in order: rules and containers stay, and ``lab down`` or the next ``lab up`` finds them by
their namespaces.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from ..errors import KcompileError, KernelError
from . import bpffs, cluster
from .settings import LabSettings, lab_directory

__all__ = ["main"]


class _Teller:
    """Tells who started the process; nobody listens any more after that has ended."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, **line: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(self._fd, json.dumps(line).encode() + b"\n")

    def say(self, text: str) -> None:
        self.tell(say=text)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._fd)


def main(name: str, listener: int, pipe: int) -> int:
    """Run the lab `name` until SIGTERM; the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    teller = _Teller(pipe)
    directory = lab_directory(name)
    try:
        settings = LabSettings.load(directory)
        if settings is None:
            raise KernelError(f"{directory}: the lab's settings are gone")
        os.environ["KCOMPILE_BPF_DIR"] = str(bpffs.folder(directory))
        asyncio.run(_run(settings, directory, socket.socket(fileno=listener), teller))
    except KcompileError as error:
        teller.tell(failed=str(error), status=error.exit_code)
        sys.stderr.write(f"{error}\n")  # the log
        return error.exit_code
    except asyncio.CancelledError:
        return 0
    return 0


async def _run(settings: LabSettings, directory: Path, listener: socket.socket, teller: _Teller) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    network = loop.run_in_executor(None, cluster.make_nodes, settings, teller.say)
    from .parts import Lab  # takes as long to import as the network to make

    async with Lab(settings, directory, listener, network) as lab:
        teller.tell(up=True)
        teller.close()
        await lab.run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
