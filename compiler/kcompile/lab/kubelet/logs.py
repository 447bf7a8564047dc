"""A container's log: lines as the CRI has them, in files of a bounded size, read back while they grow.

``2026-01-02T03:04:05.123456789Z stdout F text``: F for a whole line, P for a part of one. A file that has
grown to its limit is kept as ``NAME.old``, instead of the one before it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["Line", "Log", "LogOptions", "read_log"]

_LIMIT = 8 << 20  # bytes of one file; a kubelet's containerLogMaxSize is 10 MiB
_NAMES = {1: b"stdout", 2: b"stderr"}
_BATCH = 1 << 16


class LogOptions(NamedTuple):
    """What of a log is wanted. `since`: seconds of the epoch; `limit`: bytes; both None for all."""

    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False
    limit: int | None = None


class Line(NamedTuple):
    """One line of the file: when, the text, with its newline if it is a whole line."""

    time: bytes
    text: bytes

    @classmethod
    def read(cls, raw: bytes) -> Line:
        stamp, _, kind, text = raw.split(b" ", 3)
        return cls(stamp, text if kind == b"F" else text[:-1])


class Log:
    """The writer. `generation` counts the files that went before the current one."""

    def __init__(self, path: Path, limit: int = _LIMIT) -> None:
        self.path, self.limit, self.ended = path, limit, False
        self.generation = 0
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._size = 0
        self._partial = {1: False, 2: False}
        self._waiting: list[asyncio.Future[None]] = []

    def write(self, stream: int, data: bytes) -> None:
        """Add what the container wrote; every line of it has the time of now."""
        self._file.write(lines := _lines(data, _NAMES[stream], _stamp(time.time())))
        self._size += len(lines)
        if self._size >= self.limit:
            self._rotate()
        self._wake()

    def close(self) -> None:
        """No more comes."""
        self.ended = True
        self._file.close()
        self._wake()

    def _rotate(self) -> None:
        self._file.close()
        self.path.replace(old_of(self.path))
        self._file = self.path.open("wb", buffering=0)
        self._size = 0
        self.generation += 1

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    async def grown(self) -> None:
        """Wait for the next write, or the end."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future


def old_of(path: Path) -> Path:
    """The file that was the log before the current one."""
    return path.with_name(f"{path.name}.old")


def _stamp(now: float) -> bytes:
    whole, nanoseconds = divmod(int(now * 1e9), 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z".encode()


def _lines(data: bytes, stream: bytes, stamp: bytes) -> bytes:
    head = b"%b %b F " % (stamp, stream)
    whole, newline, rest = data.rpartition(b"\n")
    found = head + whole.replace(b"\n", b"\n" + head) + b"\n" if newline else b""
    return found + (b"%b %b P %b\n" % (stamp, stream, rest) if rest else b"")


class _Cut:
    """Chooses and shapes lines: since, timestamps, limit. `full`: the limit is reached."""

    def __init__(self, options: LogOptions) -> None:
        self.since = b"" if options.since is None else _stamp(options.since)
        self.timestamps, self.left = options.timestamps, options.limit
        self.full = False

    def piece(self, lines: Iterator[bytes]) -> bytes:
        """The next lines that are wanted, about 64 KiB of them; empty where there are none."""
        found: list[bytes] = []
        size = 0
        for raw in lines:
            found.append(self._shaped(raw))
            size += len(found[-1])
            if size >= _BATCH or self.full:
                break
        return b"".join(found)

    def _shaped(self, raw: bytes) -> bytes:
        line = Line.read(raw)
        if self.full or line.time < self.since:
            return b""
        text = line.time + b" " + line.text if self.timestamps else line.text
        if self.left is not None:
            text = text[: self.left]
            self.left -= len(text)
            self.full = self.left <= 0
        return text


async def read_log(path: Path, options: LogOptions, log: Log | None) -> AsyncIterator[bytes]:
    """The log at `path`, in pieces; with `follow`, until `log`, its writer, is closed."""
    cut, follower = _Cut(options), _Follower(path, log)
    lines = _tail(follower.present(), options.tail)
    try:
        while piece := cut.piece(lines):
            yield piece
            await asyncio.sleep(0)
        while options.follow and not cut.full and await follower.more():
            lines = follower.grown()
            while piece := cut.piece(lines):
                yield piece
    finally:
        follower.close()


def _tail(lines: Iterator[bytes], count: int | None) -> Iterator[bytes]:
    return lines if count is None else iter(deque(lines, maxlen=count))


class _Follower:
    """Reads the files of a log in their order, and the current one as it grows.

    A reader that is slower than the writer keeps the file that it has open, and misses those between.
    """

    def __init__(self, path: Path, log: Log | None) -> None:
        self.path, self.log = path, log
        self.generation = log.generation if log else 0
        old = old_of(path)
        self.old: BinaryIO | None = old.open("rb") if old.exists() else None
        self.file: BinaryIO = path.open("rb")

    def present(self) -> Iterator[bytes]:
        """Every line that is there now."""
        if self.old is not None:
            yield from self.old
        yield from self._whole_lines()

    def grown(self) -> Iterator[bytes]:
        """Every line that has come to the current file."""
        return self._whole_lines()

    async def more(self) -> bool:
        """Wait for more lines; False at the end of the log."""
        while True:
            place = self.file.tell()
            if self.file.seek(0, os.SEEK_END) > place:
                self.file.seek(place)
                return True
            if self.log is not None and self.generation != self.log.generation:
                self.file.close()
                self.file, self.generation = self.path.open("rb"), self.log.generation
            elif self.log is None or self.log.ended:
                return False
            else:
                await self.log.grown()

    def close(self) -> None:
        self.file.close()
        if self.old is not None:
            self.old.close()

    def _whole_lines(self) -> Iterator[bytes]:
        while (line := self.file.readline()).endswith(b"\n"):
            yield line
