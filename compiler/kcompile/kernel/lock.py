"""One writer a node: an flock that ends with its holder, however that ends (flock(2))."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..errors import KernelError, LockedError, UnsafeError
from ..files import NO_ROOM, open_unlinked, remove_file
from .kept import keep, kept, make_folder

__all__ = ["Holder", "holder", "locked", "locks_held"]

_HOLDER = "holder.json"
_LAST_WRITES = 8.0  # seconds for what a holder that was killed has started
_here = threading.local()  # `held`: the descriptors of the locks that this thread holds


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock for long: its command, and its process id (in its own PID namespace)."""

    command: str
    pid: int

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


@contextmanager
def locked(directory: Path, wait: float = 30.0, command: str = "") -> Iterator[int]:
    """Hold the lock file in `directory` (made where missing), waiting at most `wait` seconds; yields its
    descriptor.

    A child that inherits the descriptor (`locks_held`) holds the lock too: it is free when the last of them
    has gone. Where there is no room for the file it is the nearest folder that is locked: nobody else can
    make the file then. Raises UnsafeError where others can write to `directory` or its base, LockedError
    where somebody else holds the lock; at once where that one has said that it is for long, and lives.

    :param command: the lock is held for long, by this command. Waits for others that do the same
    """
    fd = _open(directory)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                _refuse(directory, deadline, wait, patient=bool(command))
                time.sleep(0.02)
        _name_holder(directory, command)
        _here.held = (*locks_held(), fd)
        try:
            yield fd
        finally:
            _here.held = tuple([one for one in locks_held() if one != fd])
            if command:
                _name_holder(directory, "")
    finally:
        os.close(fd)


def locks_held() -> tuple[int, ...]:
    """The descriptors of the locks that this thread holds: for programs that write to the node. Who is killed
    while one runs leaves the lock to it.
    """
    return getattr(_here, "held", ())


def holder(directory: Path) -> Holder | None:
    """Who holds the lock of `directory` for long; None where nobody has said so."""
    return kept(directory / _HOLDER, Holder)


def _refuse(directory: Path, deadline: float, wait: float, *, patient: bool) -> None:
    """Raise LockedError where there is nothing to wait for any more."""
    lasting = holder(directory)
    if lasting is not None and not _lives(lasting):
        deadline, wait, patient = deadline - wait + _LAST_WRITES, _LAST_WRITES, True
    if lasting is not None and not patient:
        raise LockedError(f"{lasting} holds this node ({directory / 'lock'}): end it first")
    if time.monotonic() >= deadline:
        who = f"{lasting} holds" if lasting is not None else "another kcompile is writing to"
        raise LockedError(f"{who} this node ({directory / 'lock'}); waited {wait:.0f} s")


def _lives(lasting: Holder) -> bool:
    """Whether its process is there, as far as this PID namespace tells."""
    return Path(f"/proc/{lasting.pid}").exists()


def _name_holder(directory: Path, command: str) -> None:
    """Write down who holds the lock for long; empty: nobody. Without room it has no name."""
    with contextlib.suppress(OSError, KernelError):
        if command:
            keep(directory / _HOLDER, Holder(command, os.getpid()))
        else:
            remove_file(directory / _HOLDER)


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
