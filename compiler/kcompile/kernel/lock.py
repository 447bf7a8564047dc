"""One writer a node: an flock that ends with its holder, however that ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import KernelError, LockedError, UnsafeError
from ..files import NO_ROOM, open_unlinked
from .kept import make_folder

__all__ = ["locked"]


@contextmanager
def locked(directory: Path, wait: float = 30.0) -> Iterator[int]:
    """Hold the lock file in `directory` (made where missing), waiting at most `wait` seconds; yields its
    descriptor.

    A forked child that inherits the descriptor holds the lock too: it is free when the last of them has gone.
    Where there is no room for the file it is the nearest folder that is locked: nobody else can make the file
    then. Raises UnsafeError where others can write to `directory` or its base.
    """
    fd = _open(directory)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = f"another kcompile is writing to this node ({directory / 'lock'})"
                    raise LockedError(f"{holder}; waited {wait:.0f} s") from None
                time.sleep(0.02)
        yield fd
    finally:
        os.close(fd)


def _open(directory: Path) -> int:
    """A descriptor to lock.

    It is open for reading only: that is enough for flock(2), and works on a read-only file system.
    """
    path = directory / "lock"
    try:
        make_folder(directory)
        return open_unlinked(path, os.O_RDONLY | os.O_CREAT)
    except (OSError, KernelError) as e:
        if isinstance(e, UnsafeError) or (isinstance(e, OSError) and e.errno not in NO_ROOM):
            raise
        nearest = next(each for each in (path, *path.parents) if each.exists())
        return os.open(nearest, os.O_RDONLY | os.O_CLOEXEC)
