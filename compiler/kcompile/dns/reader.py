"""The process that follows the source, and tells the name server what changes.

It is one of its own so that no reading of manifests or of an API server's lists ever holds up an answer: a
Python process does one thing at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

import msgspec

from ..agent.source import Source
from ..errors import InputError, KcompileError
from .collect import Change, Collector, Wanted

__all__ = ["LENGTH", "Told", "batches", "end", "start", "told"]

LENGTH = 4
"""Bytes before a message: its length."""
_NICE = 10  # answers come first on a processor too
_MOST = 100  # names in a message: what is taken in between two answers


class Told(msgspec.Struct, omit_defaults=True, array_like=True):
    """A message to the name server.

    `changes` of records. `ready`: all is told that there was at the start, or at the last change. `text`: a
    warning; `fatal`: the reader ends because of it, and `is_input` says whether it is the user's to change.
    `failing`: kinds that can't be followed. `moment`: when the first of `changes` was heard of, by the
    monotonic clock.
    """

    changes: list[Change] = []
    ready: bool = False
    text: str = ""
    fatal: str = ""
    is_input: bool = False
    failing: dict[str, str] = {}
    moment: float = 0.0


def told(body: bytes) -> Told:
    """A message that `start` sends."""
    return msgspec.msgpack.decode(body, type=Told)


def start(source: Callable[[], Source], wanted: Wanted) -> tuple[int, socket.socket]:
    """Follow `source` in a process of its own, which ends when the socket is closed.

    :return: its id, and the socket that it writes to
    """
    own, other = socket.socketpair()
    pid = os.fork()
    if not pid:
        own.close()
        _follow(other, source, wanted)
    other.close()
    own.setblocking(False)
    return pid, own


def _follow(sock: socket.socket, source: Callable[[], Source], wanted: Wanted) -> NoReturn:
    """The reader's whole life."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's goes to both: the server ends this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sock.setblocking(False)
        os.nice(_NICE)
        logging.disable()  # the server is told what a source logs
        asyncio.run(_Following(sock, wanted).run(source))
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


class _Following:
    """Gives what `source` says to `sock`."""

    def __init__(self, sock: socket.socket, wanted: Wanted) -> None:
        self._sock, self._wanted = sock, wanted
        self._marked = asyncio.Event()
        self._since = 0.0
        self._texts: list[str] = []

    async def run(self, source: Callable[[], Source]) -> None:
        """Until the server closes its end, or the source fails."""
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(self._sock, gone.set)
        work = (self._source(source), gone.wait())
        tasks = [asyncio.ensure_future(each) for each in work]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if (error := task.exception()) is not None and not isinstance(error, ConnectionError):
                traceback.print_exception(error)
        os._exit(0)  # at once: a thread of the source may be reading still

    async def _source(self, make: Callable[[], Source]) -> None:
        try:
            source = make()
            collector = Collector(source.kinds, self._wanted, self._mark, self._tell)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_changes(collector))
                tasks.create_task(source.run(collector))
        except* KcompileError as group:
            error = group.exceptions[0]
            await self._send(Told(fatal=str(error), is_input=isinstance(error, InputError)))

    def _mark(self) -> None:
        if not self._marked.is_set():
            self._since = time.monotonic()
            self._marked.set()

    def _tell(self, text: str) -> None:
        self._texts.append(text)
        self._mark()

    async def _send_changes(self, collector: Collector) -> None:
        while True:
            await self._marked.wait()
            self._marked.clear()
            texts, self._texts = self._texts, []
            for text in texts:
                await self._send(Told(text=text))
            since = self._since
            for changes in batches(collector.changes()):
                await self._send(Told(changes, moment=since))
            await self._send(
                Told(
                    ready=collector.ready,
                    failing=dict(collector.failing),
                )
            )

    async def _send(self, message: Told) -> None:
        body = msgspec.msgpack.encode(message)
        await asyncio.get_running_loop().sock_sendall(self._sock, len(body).to_bytes(LENGTH) + body)


def batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """`changes` in pieces, each of which is taken in between two answers."""
    batch: list[Change] = []
    names = 0
    for change in changes:
        batch.append(change)
        names += len(change.names or ()) + 1
        if names >= _MOST:
            yield batch
            batch, names = [], 0
    if batch:
        yield batch


def end(pid: int) -> None:
    """End the process that `start` has started."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
