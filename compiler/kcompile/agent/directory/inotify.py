"""inotify(7) by ctypes: the kernel says at once, and at no cost while nothing happens, which entries of a
folder change.

A library that gathers events for tens of milliseconds, or looks every few, would be slower than all that
follows.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from typing import NamedTuple

__all__ = ["CLOSED", "GONE", "IGNORED", "IS_FOLDER", "MODIFIED", "OVERFLOW", "SELF", "Event", "Inotify"]

MODIFIED, CLOSED, IGNORED, OVERFLOW, IS_FOLDER = 0x2, 0x8, 0x8000, 0x4000, 0x40000000
"""IN_MODIFY, IN_CLOSE_WRITE, IN_IGNORED, IN_Q_OVERFLOW and IN_ISDIR of linux/inotify.h."""
GONE = 0x40 | 0x200
"""IN_MOVED_FROM and IN_DELETE: an entry has left the folder."""
_CAME = 0x80 | 0x100  # IN_MOVED_TO, IN_CREATE
SELF = 0x400 | 0x800
"""IN_DELETE_SELF and IN_MOVE_SELF: the folder itself is no longer at its path."""
_ONLY_FOLDERS = 0x01000000  # IN_ONLYDIR
_MASK = MODIFIED | CLOSED | GONE | _CAME | SELF | _ONLY_FOLDERS
_HEAD = struct.Struct("iIII")
_BUFFER = 1 << 16


class Event(NamedTuple):
    """`watch`: the number that `add` gave, -1 for OVERFLOW; `name`: an entry, empty for the folder itself."""

    watch: int
    mask: int
    name: str


class Inotify:
    """One inotify instance. Its descriptor never blocks."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        return self._fd

    def add(self, folder: str) -> int:
        """Watch the entries of `folder`; returns the watch's number. Raises OSError."""
        return self._check(self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _MASK))

    def remove(self, watch: int) -> None:
        """Stop; a watch whose folder is gone has stopped already."""
        self._libc.inotify_rm_watch(self._fd, watch)

    def read(self, seconds: float = 0) -> list[Event]:
        """The events that have come, or come within `seconds`."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return []
        data = os.read(self._fd, _BUFFER)
        events, at = [], 0
        while at < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            name = data[at : at + length].rstrip(b"\0")
            events.append(Event(watch, mask, os.fsdecode(name)))
            at += length
        return events

    def close(self) -> None:
        os.close(self._fd)

    def _check(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
