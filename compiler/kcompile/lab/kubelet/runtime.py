"""The lab's side of the spawner: processes of containers as awaitable objects.

All of it runs in the event loop's thread, and nothing here blocks.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from ... import spawn
from ...errors import KcompileError
from ...kernel.netns import entered

__all__ = ["KILLED", "Process", "Runtime", "StartError"]

KILLED = 128 + signal.SIGKILL
_LARGEST = 4096  # bytes of a message: spawner/loop.py
_NO_ID = 0


class StartError(Exception):
    """The process can't be started; the message says why."""


class Process:
    """A process in a container. `pid` is this machine's; `ended` has its exit status (128 + n: signal n)."""

    def __init__(self, runtime: Runtime, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number, self.pid = number, 0
        self.started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._runtime = runtime

    @property
    def runs(self) -> bool:
        return bool(self.pid) and not self.ended.done()

    def signal(self, number: int) -> None:
        """Send a signal to it; a container's first process takes all others along when it is killed."""
        if not self.ended.done():
            self._runtime.send({"op": "signal", "id": self.number, "signal": number})

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)


class Runtime:
    """Starts processes by a spawner that lives in network namespace `netns`."""

    def __init__(self, netns: str | None = None) -> None:
        self.netns = netns
        self._processes: dict[int, Process] = {}
        self._number = _NO_ID
        self._control: socket.socket | None = None
        self._waiting: list[tuple[bytes, list[int]]] = []
        self._spawner: subprocess.Popen[bytes] | None = None
        self._reaped: asyncio.Future[int] | None = None

    @property
    def pid(self) -> int:
        """The PID of the spawner; 0 before the first process and after a failure."""
        return self._spawner.pid if self._spawner else 0

    def open(self) -> None:
        """Start the spawner, where none runs."""
        if self._control is not None:
            return
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its, entered(self.netns):
            command = spawn.python("kcompile.lab.spawner.loop", str(its.fileno()))
            command.insert(2, "-S")  # the standard library is all that it needs
            self._spawner = spawn.popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[its.fileno()]
            )
        mine.setblocking(False)
        self._control = mine
        asyncio.get_running_loop().add_reader(mine, self._hear)

    async def close(self) -> None:
        """Kill every process, and the spawner."""
        self._lose()
        if self._reaped is not None:
            await self._reaped

    async def start(self, spec: Mapping[str, Any], streams: Sequence[int]) -> Process:
        """Start a container; `spec` as spawner/child.py has it. Raises StartError."""
        return await self._begin({"op": "start"}, spec, streams)

    async def exec(self, container: Process, spec: Mapping[str, Any], streams: Sequence[int]) -> Process:
        """Start a process in a running container. Raises StartError."""
        return await self._begin({"op": "exec", "container": container.number}, spec, streams)

    async def _begin(
        self, message: dict[str, Any], spec: Mapping[str, Any], streams: Sequence[int]
    ) -> Process:
        try:
            self.open()
        except KcompileError as error:  # its namespace has gone, and with it the lab
            raise StartError(str(error)) from None
        self._number += 1
        process = self._processes[self._number] = Process(self, self._number)
        memory = os.memfd_create("kcompile-spec")
        os.write(memory, json.dumps(spec).encode())
        self.send({**message, "id": process.number}, [memory, *streams])
        try:
            await asyncio.shield(process.started)
        except asyncio.CancelledError:
            process.signal(signal.SIGKILL)
            raise
        return process

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message, or keep it until the spawner reads. The descriptors may be closed after it, except
        the first, which becomes this method's.
        """
        own = [*fds[:1], *map(os.dup, fds[1:])]
        self._waiting.append((json.dumps(message).encode(), own))
        self._flush()

    def _flush(self) -> None:
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        while self._waiting:
            data, fds = self._waiting[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                self._control.sendmsg([data], rights)
            except BlockingIOError:
                loop.add_writer(self._control, self._flush)
                return
            except (BrokenPipeError, ConnectionResetError):
                self._lose()
                return
            del self._waiting[0]
            _close(fds)
        loop.remove_writer(self._control)

    def _hear(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(_LARGEST)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._lose()
            return
        message = json.loads(data)
        process = self._processes[message["id"]]
        match message["event"]:
            case "started":
                process.pid = message["pid"]
                process.started.set_result(None)
            case "failed":
                _fail(process.started, message["error"])
            case "ended":
                process.ended.set_result(message["status"])
                del self._processes[process.number]

    def _lose(self) -> None:
        """The spawner has gone, and the kernel has killed its children with it."""
        if self._control is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._control)
        loop.remove_writer(self._control)
        self._control.close()
        self._control = None
        for _, fds in self._waiting:
            _close(fds)
        self._waiting.clear()
        lost, self._processes = list(self._processes.values()), {}
        for process in lost:
            _fail(process.started, "the spawner was killed")
            process.ended.set_result(KILLED)
        if self._spawner is not None:
            self._reaped = loop.run_in_executor(None, self._spawner.wait)
            self._spawner = None


def _fail(started: asyncio.Future[None], error: str) -> None:
    if not started.done():
        started.set_exception(StartError(error))
        started.exception()  # whoever waited may have been cancelled


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
