"""Opens a file whose name comes from someone else: checks its type first, never blocks in open(), reads up to
a limit.

A FIFO, a socket or a device that is opened as if it were a file can wait for ever, never end, or act (a
watchdog starts when it is opened).
"""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

__all__ = ["FIFO_PATIENCE", "Refused", "read_descriptor", "read_path"]

FIFO_PATIENCE = 3.0
"""Seconds that a named FIFO has for its writer to come: a shell without /dev/fd starts both sides of
``<(...)`` at once.
"""

_CHUNK = 1 << 20
_POLL = 0.02
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NULL = os.makedev(1, 3)
_TERMINALS = (4, 5, *range(136, 144))  # majors: devices.txt of Linux


class Refused(OSError):  # noqa: N818 -- as spec.text.Wrong: a reader turns it into one of our errors
    """A file of a type that isn't read; `strerror` says why."""

    def __init__(self, message: str) -> None:
        super().__init__(0, message)


def read_path(path: str, limit: int, *, only_files: bool = False) -> bytes:
    """The bytes of the file, pipe or terminal at `path`; of more than `limit`, one more than `limit`.

    `only_files`: pipes and terminals are refused too. Raises OSError (Refused is one), and ValueError for a
    NUL in `path`.
    """
    _check(Path(path).stat(), only_files)
    fd = os.open(path, _FLAGS)
    try:
        found = os.fstat(fd)
        _check(found, only_files)
        if stat.S_ISREG(found.st_mode) and found.st_size > limit:
            raise Refused(f"the file has {found.st_size:,} bytes; the limit is {limit:,}")
        return _read(fd, found, limit)
    finally:
        os.close(fd)


def read_descriptor(fd: int, limit: int) -> bytes:
    """As `read_path`, from a descriptor that is open already, as standard input is. It may be a socket."""
    found = os.fstat(fd)
    if not stat.S_ISSOCK(found.st_mode):
        _check(found, only_files=False)
    return _read(fd, found, limit)


def _check(found: os.stat_result, only_files: bool) -> None:
    mode = found.st_mode
    if stat.S_ISREG(mode):
        if _in_proc(found):
            raise Refused("a file of /proc, not one on a disk")
    elif stat.S_ISFIFO(mode):
        if only_files:
            raise Refused("a pipe, not a file")
    elif stat.S_ISCHR(mode):
        if only_files or not _harmless(found.st_rdev):
            raise Refused("a device, not a file")
    elif stat.S_ISBLK(mode):
        raise Refused("a device, not a file")
    elif stat.S_ISSOCK(mode):
        raise Refused("a socket, not a file")
    elif stat.S_ISDIR(mode):
        raise Refused("a directory, not a file")
    else:
        raise Refused("neither a file nor a pipe")


def _in_proc(found: os.stat_result) -> bool:
    """True for a file of procfs: some block, and reading others consumes their content (kmsg)."""
    try:
        return found.st_dev == Path("/proc/self").stat().st_dev
    except OSError:
        return False


def _harmless(device: int) -> bool:
    """True for a terminal or null device."""
    return device == _NULL or os.major(device) in _TERMINALS


def _anonymous(pipe: os.stat_result) -> bool:
    """True for a pipe without a name in any folder (``/dev/fd/N``): its writer has been there since it was
    made.
    """
    ends = os.pipe()
    try:
        return pipe.st_dev == os.fstat(ends[0]).st_dev
    finally:
        for end in ends:
            os.close(end)


def _read(fd: int, found: os.stat_result, limit: int) -> bytes:
    """Up to the end, or `limit` and one byte.

    A FIFO that nobody has open for writing reads as empty: it has ended only once there was a writer.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    begun = not stat.S_ISFIFO(found.st_mode) or _anonymous(found)
    deadline = time.monotonic() + FIFO_PATIENCE
    chunks: list[bytes] = []
    left = limit + 1
    while left:
        try:
            chunk = os.read(fd, min(left, max(_CHUNK, found.st_size + 1)))
        except BlockingIOError:
            if stat.S_ISREG(found.st_mode):
                raise Refused("reading it would wait for more") from None
            poll.poll()
            begun = True
            continue
        if chunk:
            chunks.append(chunk)
            left -= len(chunk)
            begun = True
        elif begun or poll.poll(0):  # POLLHUP: a writer has come and gone
            break
        elif time.monotonic() > deadline:
            raise Refused(f"a FIFO that nobody writes to (waited {FIFO_PATIENCE:.0f} s)")
        else:
            time.sleep(_POLL)
    return b"".join(chunks)
