"""The standard streams of processes in containers: pipes or a terminal, their log, and who listens."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
import time
from collections.abc import AsyncIterator

from .logs import Log
from .runtime import Process

__all__ = ["Attached", "Executed", "Output", "Streams"]

_STDOUT, _STDERR = 1, 2
_CHUNK = 1 << 16
_BEHIND = 64  # chunks that an attached client may be behind; it misses what comes then
_End = tuple[int, bytes]
_END: _End = (0, b"")


async def _read(fd: int) -> bytes:
    """The next bytes of `fd`; none at the end."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return os.read(fd, _CHUNK)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno == errno.EIO:  # a terminal whose other side is closed
                return b""
            raise
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(fd, _set, ready)
        try:
            await ready
        finally:
            loop.remove_reader(fd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Streams:
    """Our side of a process's streams, and until `started` also its side: `child`, for stdin, stdout, stderr.

    With `terminal` all three are one terminal. Without `stdin` the process reads /dev/null.
    """

    def __init__(self, *, stdin: bool, terminal: bool) -> None:
        self.terminal = terminal
        self.outputs: dict[int, int] = {}
        self._input: int | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.child: list[int] = self._open_terminal(stdin) if terminal else self._open_pipes(stdin)
        for fd in (*self.outputs.values(), *([self._input] if self._input is not None else [])):
            os.set_blocking(fd, False)

    def _open_terminal(self, stdin: bool) -> list[int]:
        ours, its = os.openpty()
        self.outputs = {_STDOUT: ours}
        if stdin:
            self._input = os.dup(ours)
        return [its, os.dup(its), os.dup(its)]

    def _open_pipes(self, stdin: bool) -> list[int]:
        child = []
        if stdin:
            read, self._input = os.pipe()
            child.append(read)
        else:
            child.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for stream in (_STDOUT, _STDERR):
            self.outputs[stream], write = os.pipe()
            child.append(write)
        return child

    async def started(self) -> None:
        """The process has its side: close ours of it, and get ready to write."""
        self.close_child()
        if self._input is not None:
            file = os.fdopen(self._input, "wb", buffering=0)
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, file)

    def close_child(self) -> None:
        for fd in self.child:
            os.close(fd)
        self.child = []

    def write(self, data: bytes) -> None:
        """Write to stdin."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close_input(self) -> None:
        """End stdin."""
        if self._transport is not None:
            self._transport.close()
        elif self._input is not None and self.child:
            os.close(self._input)
            self._input = None

    def close(self) -> None:
        """Close all that is ours."""
        self.close_input()
        self.close_child()
        for fd in self.outputs.values():
            os.close(fd)
        self.outputs = {}

    def resize(self, columns: int, rows: int) -> None:
        if self.terminal and self.outputs:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self.outputs[_STDOUT], termios.TIOCSWINSZ, size)

    async def read(self, stream: int) -> bytes:
        """The next bytes of an output; none at its end."""
        return await _read(self.outputs[stream])


class _Input:
    """The Writer of a process."""

    def __init__(self, streams: Streams, *, once: bool = True) -> None:
        self._streams, self._once = streams, once

    def write(self, data: bytes) -> None:
        self._streams.write(data)

    def close(self) -> None:
        if self._once:
            self._streams.close_input()


class Executed:
    """A process that was started in a container (apiserver.streams.Running)."""

    def __init__(self, process: Process, streams: Streams, *, stdin: bool) -> None:
        self._process, self._streams = process, streams
        self.stdin = _Input(streams) if stdin else None
        self._queue: asyncio.Queue[_End] = asyncio.Queue(1)
        self._pumps = [asyncio.create_task(self._pump(stream)) for stream in streams.outputs]
        process.ended.add_done_callback(lambda _: streams.close_input())

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes, until all have closed both streams."""
        open_ = len(self._pumps)
        try:
            while open_:
                stream, data = await self._queue.get()
                if data:
                    yield stream, data
                else:
                    open_ -= 1
        finally:
            self._close()

    async def wait(self) -> int:
        return await self._process.wait()

    def resize(self, columns: int, rows: int) -> None:
        self._streams.resize(columns, rows)

    def kill(self) -> None:
        self._process.signal(signal.SIGKILL)
        self._close()

    def _close(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        asyncio.get_running_loop().call_soon(self._streams.close)

    async def _pump(self, stream: int) -> None:
        while data := await self._streams.read(stream):
            await self._queue.put((stream, data))
        await self._queue.put((stream, b""))


class Output:
    """The streams of a container's own process: read into its log, and to those who are attached."""

    def __init__(self, streams: Streams, log: Log, *, once: bool) -> None:
        self.streams, self.log, self.once = streams, log, once
        self.listeners: set[asyncio.Queue[_End]] = set()
        self._pumps = [asyncio.create_task(self._pump(stream)) for stream in streams.outputs]

    async def ended(self) -> None:
        """Read what is left after the process's end."""
        await asyncio.gather(*self._pumps)

    def close(self) -> None:
        """Close everything; who is attached hears the end."""
        for pump in self._pumps:
            pump.cancel()
        asyncio.get_running_loop().call_soon(self.streams.close)
        self.log.close()
        for listener in self.listeners:
            _offer(listener, _END)

    async def _pump(self, stream: int) -> None:
        while data := await self.streams.read(stream):
            began = time.perf_counter()
            self.log.write(stream, data)
            for listener in self.listeners:
                _offer(listener, (stream, data))
            if len(data) == _CHUNK:  # one that writes as fast as it can: others come first
                await asyncio.sleep(time.perf_counter() - began)


def _offer(queue: asyncio.Queue[_End], item: _End) -> None:
    if queue.full() and item is _END:
        queue.get_nowait()
    with contextlib.suppress(asyncio.QueueFull):
        queue.put_nowait(item)


class Attached:
    """A client beside a container's own process (apiserver.streams.Running): it hears what comes from now."""

    def __init__(self, process: Process, output: Output, *, stdin: bool) -> None:
        self._process, self._output = process, output
        self.stdin = _Input(output.streams, once=output.once) if stdin else None
        self._queue: asyncio.Queue[_End] = asyncio.Queue(_BEHIND)
        output.listeners.add(self._queue)
        if output.log.ended:
            _offer(self._queue, _END)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes, until the container ends."""
        try:
            while (item := await self._queue.get()) is not _END:
                yield item
        finally:
            self.kill()

    async def wait(self) -> int:
        """0 after its end: the attachment has succeeded, however the container ended."""
        await self._process.wait()
        return 0

    def resize(self, columns: int, rows: int) -> None:
        self._output.streams.resize(columns, rows)

    def kill(self) -> None:
        self._output.listeners.discard(self._queue)
