"""The kernel thread: it has entered the node's network namespace, holds the node's lock, and alone compiles
and writes.
"""

from __future__ import annotations

import logging
import math
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..engine.session import at_node
from ..errors import KcompileError
from .options import Options
from .programmer import Programmer
from .record import Record
from .state import State

__all__ = ["KernelThread"]

_COMMAND = "kcompile run"
_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0  # seconds after a failure; doubled each time
_LOOK = 1.0  # seconds between two questions whether somebody else has written rules
_UPKEEP_LATEST = 0.2  # seconds that conntrack waits for a pause between syncs
_NEVER = math.inf


class KernelThread(threading.Thread):
    """Programs the node from `state` until `stop`.

    :param ended: called in this thread at its end, with what ended it; None after `stop`
    """

    def __init__(
        self,
        options: Options,
        state: State,
        record: Record,
        log: logging.Logger,
        ended: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__(name=_COMMAND, daemon=True)
        self._options, self._state, self._record, self._log = options, state, record, log
        self._ended = ended
        self._bell = _Bell()
        self._stopping = self._reloading = False
        self.programmer: Programmer | None = None
        # Moments by the monotonic clock.
        self._not_before = 0.0
        self._next_look = self._next_check = 0.0
        self._upkeep_by = _NEVER
        self._retry_in = _RETRY_FIRST

    # ---- from any thread

    def wake(self) -> None:
        """There may be something to do."""
        self._bell.ring()

    def stop(self) -> None:
        """End after the sync that is under way. Rules stay."""
        self._stopping = True
        self._bell.ring()

    def reload(self) -> None:
        """Read the configuration again."""
        self._reloading = True
        self._bell.ring()

    # ---- in this thread

    def run(self) -> None:
        """See `Thread.run`."""
        error: BaseException | None = None
        try:
            with at_node(self._options.request, command=_COMMAND) as directory:
                self._work(directory)
        except BaseException as e:
            error = e
        self._bell.close()
        self._ended(error)

    def _work(self, directory: Path) -> None:
        programmer = Programmer(self._options.request, self._state, self._record, self._log, directory)
        self.programmer = programmer
        try:
            while not self._stopping:
                self._turn(programmer)
                self._bell.wait(self._pause(programmer))
        finally:
            programmer.close()

    def _turn(self, programmer: Programmer) -> None:
        """Do what is due."""
        now = time.monotonic()
        if self._reloading:
            self._reloading = False
            self._reload(programmer)
        if self._is_due(programmer):
            if now >= self._not_before:
                self._sync(programmer)
        elif programmer.upkeep_due:
            self._tidy(programmer)
        if not programmer.synced:
            return
        if programmer.upkeep_due and now >= self._upkeep_by:
            self._tidy(programmer)
        if now >= self._next_look:
            self._next_look = now + _LOOK
            if programmer.touched():
                self._next_check = now
        if now >= self._next_check:
            self._next_check = now + self._options.sync_period
            self._attempt(programmer.check)

    def _is_due(self, programmer: Programmer) -> bool:
        return self._state.ready and (self._state.marked or not programmer.synced)

    def _pause(self, programmer: Programmer) -> float:
        """Seconds until something is due; 0 where it is already."""
        if self._is_due(programmer):
            moments = [self._not_before]
        elif not programmer.synced:
            return _NEVER  # the lists aren't in yet
        elif programmer.upkeep_due:
            return 0.0
        else:
            moments = [self._next_look, self._next_check]
        return max(0.0, min(moments) - time.monotonic())

    def _sync(self, programmer: Programmer) -> None:
        began = time.monotonic()
        if self._attempt(programmer.sync):
            self._not_before = began + self._options.min_sync_period
            if programmer.upkeep_due:
                self._upkeep_by = min(self._upkeep_by, time.monotonic() + _UPKEEP_LATEST)

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Whether `work` succeeds; if not, the next sync comes later each time, and reads the kernel."""
        try:
            work()
        except KcompileError as error:
            self._not_before = time.monotonic() + self._retry_in
            self._log.error("failed, tried again in %.1f s: %s", self._retry_in, error)
            self._record.failed(str(error), self._retry_in)
            self._retry_in = min(_RETRY_MOST, self._retry_in * 2)
            return False
        self._retry_in = _RETRY_FIRST
        return True

    def _tidy(self, programmer: Programmer) -> None:
        self._upkeep_by = _NEVER
        self._attempt(programmer.tidy)

    def _reload(self, programmer: Programmer) -> None:
        try:
            programmer.reload()
        except KcompileError as error:
            self._log.error("the configuration stays as it was: %s", error)


class _Bell:
    """Wakes the thread that waits for it, from any other."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def ring(self) -> None:
        """End a wait, or the next one. Nothing after `close`."""
        with self._lock:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def wait(self, seconds: float) -> None:
        """Wait until it rings, or for `seconds`."""
        if self._poll.poll(None if seconds == _NEVER else math.ceil(seconds * 1000)):
            os.eventfd_read(self._fd)

    def close(self) -> None:
        """Free the descriptor."""
        with self._lock:
            os.close(self._fd)
            self._fd = -1
