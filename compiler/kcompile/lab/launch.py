"""A lab's process started, from ``lab up``; whether it runs; its removal, also after a crash."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import spawn
from ..agent.serve.unix import connect_to
from ..errors import InputError, KcompileError, KernelError, LockedError, UnsupportedError
from ..kernel.kept import make_folder
from ..kernel.lock import locked
from ..kernel.netns import entered
from ..kernel.places import run_base, run_directory
from . import bpffs, cluster, netns
from .control import SOCKET
from .kubelet import cgroups
from .settings import LabSettings, lab_directory

__all__ = ["Found", "down", "is_running", "labs", "start"]

_LIBRARIES = ("aiohttp", "cryptography", "httpx2", "jsonpatch", "prometheus_client")  # of the extra `lab`
_KEPT = ("lock", "holder.json")  # of kernel/lock.py, while the lab is locked


class Found(NamedTuple):
    """A lab of this machine. `state`: ``up``; ``dead`` where its process isn't there."""

    name: str
    state: str
    mode: str
    nodes: int


def labs() -> list[Found]:
    """Every lab that has a namespace or a folder, by name."""
    base = run_base()
    names = {path.name.removeprefix("lab-") for path in base.glob("lab-*") if path.is_dir()}
    found = []
    for name in sorted(names | netns.names_of_labs()):
        settings = LabSettings.load(base / f"lab-{name}")
        state = "up" if is_running(base / f"lab-{name}") else "dead"
        found.append(
            Found(name, state, settings.mode if settings else "", len(settings.nodes) if settings else 0)
        )
    return found


def is_running(directory: Path) -> bool:
    """Whether the lab's process answers."""
    try:
        connect_to(directory, SOCKET).close()
    except OSError:
        return False
    return True


def start(settings: LabSettings, say: Callable[[str], None]) -> None:
    """Start the process of a lab that doesn't run, and wait until its API answers.

    What there is of such a lab is removed first; after an error, everything is.

    :param say: is told what is done
    :raises KcompileError: what stopped the process
    """
    for name in _LIBRARIES:
        if importlib.util.find_spec(name) is None:
            raise UnsupportedError(f"a lab needs the Python library {name}: pip install 'kcompile[lab]'")
    directory = lab_directory(settings.name)
    with _locked(directory):
        if is_running(directory):
            return
        _remove(settings.name, directory)
        try:
            _launch(settings, directory, say)
        except BaseException:
            _remove(settings.name, directory)
            shutil.rmtree(directory, ignore_errors=True)
            raise


def _launch(settings: LabSettings, directory: Path, say: Callable[[str], None]) -> None:
    make_folder(directory)
    with _listener(settings.api_port) as listener:
        settings.api_port = listener.getsockname()[1]
        settings.save(directory)
        cluster.make_fabric(settings.name)
        reading, writing = os.pipe()
        with os.fdopen(reading) as told:
            try:
                _start(settings, directory, listener.fileno(), writing)
            finally:
                os.close(writing)
            for line in told:
                news = json.loads(line)
                if "say" in news:
                    say(news["say"])
                elif "failed" in news:
                    raise _ProcessError(news["failed"], news["status"])
                else:
                    return
    log = directory / "log"
    last = log.read_text(errors="replace").splitlines()[-1:] if log.exists() else []
    raise KernelError(f"the lab's process ended{': ' if last else ''}{''.join(last)}")


class _ProcessError(KcompileError):
    """What the process said before it ended, with its exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status


def _start(settings: LabSettings, directory: Path, listener: int, pipe: int) -> None:
    """Start the process in the fabric's namespace, in a session of its own."""
    command = spawn.python("kcompile.lab.process", settings.name, str(listener), str(pipe))
    with (directory / "log").open("ab") as log, entered(cluster.fabric(settings.name)):
        spawn.popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(listener, pipe),
            start_new_session=True,
        )


def _listener(port: int) -> socket.socket:
    """A socket that listens on the loopback, on `port` if that is free."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=128)


def down(name: str) -> bool:
    """Remove all that exists of lab `name`; returns False where nothing did."""
    directory = lab_directory(name)
    if not directory.exists() and not netns.of_lab(name):
        return False
    with _locked(directory):
        _remove(name, directory)
        shutil.rmtree(directory, ignore_errors=True)
    return True


def _remove(name: str, directory: Path) -> None:
    """Kill the processes of lab `name`; remove its files, namespaces and mounts, but not the lock's file."""
    while names := netns.of_lab(name):  # a process may have made one while it was killed
        netns.kill_processes(names)
        for each in names:  # before the namespaces, which say which run directories are theirs
            with contextlib.suppress(KernelError), entered(each):  # a half-made namespace can't be entered
                shutil.rmtree(run_directory(), ignore_errors=True)
        netns.remove(names)
    bpffs.unmount(directory)
    cgroups.remove(name)
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name not in _KEPT:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of the lab in `directory`. Raises LockedError; InputError for a user who isn't root."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(directory))
        except LockedError:
            name = directory.name.removeprefix("lab-")
            raise LockedError(f"another kcompile lab is at work on {name}") from None
        except PermissionError as error:
            raise InputError(f"{error.filename}: {error.strerror} (a lab needs root)") from None
        yield
