"""One writer a node: an flock that ends with its holder, however that ends (flock(2))."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LockedError

__all__ = ["locked"]


@contextmanager
def locked(directory: Path, wait: float = 30.0) -> Iterator[int]:
    """Hold the lock file in `directory` (made where missing), waiting at most `wait` seconds; yields its descriptor.

    A forked child that inherits the descriptor holds the lock too: it is free when the last of them has gone.
    """
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise LockedError(f"another kcompile is writing to this node ({directory / 'lock'}); waited {wait:.0f} s") from None
                time.sleep(0.02)
        yield fd
    finally:
        os.close(fd)
