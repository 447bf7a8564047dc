"""Containers that are processes of this machine, for tests of the API server's exec, attach and logs."""

# ruff: noqa: ARG002 -- a protocol's arguments: all containers here are one

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from kcompile.apiserver import StatusError
from kcompile.apiserver.streams import STDERR, STDOUT

__all__ = ["LocalContainers"]


class _Stdin:
    def __init__(self, write: Any, close: Any) -> None:
        self.write, self.close = write, close


class _Process:
    """A process with pipes, or with a terminal: `master` is then the other end of it."""

    def __init__(self, process: asyncio.subprocess.Process, stdin: bool, master: int | None) -> None:
        self._process, self._master = process, master
        self.stdin = None
        if stdin and master is not None:
            self.stdin = _Stdin(lambda data: os.write(master, data), lambda: None)
        elif stdin:
            self.stdin = _Stdin(process.stdin.write, process.stdin.close)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        if self._master is not None:
            while data := await asyncio.to_thread(self._terminal):
                yield STDOUT, data
            return
        pieces: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue()

        async def read(stream: int, source: asyncio.StreamReader) -> None:
            while data := await source.read(65536):
                await pieces.put((stream, data))
            await pieces.put(None)

        sources = ((STDOUT, self._process.stdout), (STDERR, self._process.stderr))
        tasks = [asyncio.create_task(read(stream, source)) for stream, source in sources if source]
        ended = 0
        while ended < len(tasks):
            piece = await pieces.get()
            if piece is None:
                ended += 1
            else:
                yield piece

    def _terminal(self) -> bytes:
        try:
            return os.read(self._master, 65536)
        except OSError:  # its last process has ended
            return b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class LocalContainers:
    """All containers are one folder.

    `logs_of`: their logs by ``POD/CONTAINER``; a piece may be an event to wait for. `logs_ended`: how many
    readers have gone. `started`: every process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs_of: dict[str, list[bytes | asyncio.Event]] = {}
        self.asked: list[dict[str, Any]] = []
        self.started: list[_Process] = []
        self.logs_ended = 0

    async def logs(self, namespace: str, pod: str, container: str, **options: Any) -> AsyncIterator[bytes]:
        self.asked.append(options)
        if options["previous"]:
            message = f'previous terminated container "{container}" in pod "{pod}" not found'
            raise StatusError(400, "BadRequest", message)
        try:
            for piece in self.logs_of.get(f"{pod}/{container}", [])[-(options["tail"] or 1000) :]:
                if isinstance(piece, bytes):
                    yield piece
                elif options["follow"]:
                    await piece.wait()
        finally:
            self.logs_ended += 1

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        tty: bool,
    ) -> _Process:
        pipe = asyncio.subprocess.PIPE
        streams: dict[str, Any] = {"stdin": pipe if stdin else asyncio.subprocess.DEVNULL}
        streams |= {"stdout": pipe, "stderr": pipe}
        master = slave = None
        if tty:
            master, slave = pty.openpty()
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=self.folder, start_new_session=True, **streams
            )
        except FileNotFoundError:
            raise StatusError(500, "InternalError", f'exec: "{command[0]}": not found') from None
        finally:
            if slave is not None:
                os.close(slave)
        self.started.append(_Process(process, stdin, master))
        return self.started[-1]

    async def attach(self, namespace: str, pod: str, container: str, **streams: bool) -> _Process:
        return await self.exec(namespace, pod, container, ["cat"], **streams)

    async def connect(self, namespace: str, pod: str, port: int) -> Any:
        return await asyncio.open_connection("127.0.0.1", port)
