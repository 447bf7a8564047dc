"""The kernel thread: it has entered the node's network namespace, holds the node's lock, and alone compiles
and writes. This module decides when; programmer.py does the work.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..engine.session import at_node
from ..errors import KcompileError, UnsupportedError
from .bell import Bell, Calls
from .log import log_failure
from .options import Options
from .programmer import Programmer
from .record import Record
from .serve import HealthCheckPorts
from .state import State
from .takeover import TakeOver

__all__ = ["KernelThread"]

T = TypeVar("T")

_COMMAND = "kcompile run"
_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0  # seconds after a failure; doubled each time
_CONFIGURED = 2.0  # seconds between two looks whether the configuration file has changed
_TOGETHER = 0.05  # seconds in which changes of addresses are taken together
_HOUSEKEEPING = 1.0  # seconds between looks for what open connections no longer need
_UPKEEP_LATEST = 0.2  # seconds that conntrack waits for a pause between syncs
_UPKEEP_PAUSE = 0.1  # seconds between two looks at it: each walks the kernel's whole table
_NEVER = math.inf


class KernelThread(threading.Thread):
    """Programs the node from `state` until `stop`.

    :param entered: called in this thread once it is the node's, with the namespace's run directory
    :param ended: called in this thread at its end, with what ended it; None after `stop`
    """

    def __init__(
        self,
        options: Options,
        state: State,
        record: Record,
        log: logging.Logger,
        checks: HealthCheckPorts,
        *,
        entered: Callable[[Path], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        super().__init__(name=_COMMAND, daemon=True)
        self._options, self._state, self._record, self._log = options, state, record, log
        self._checks, self._entered, self._ended = checks, entered, ended
        self._bell, self._calls = Bell(), Calls()
        self._stopping = False
        self.programmer: Programmer | None = None
        # Moments by the monotonic clock.
        self._not_before = 0.0  # the next sync
        self._look_at = _NEVER  # at the node's addresses
        self._check_at = _NEVER
        self._housekeep_at = _NEVER
        self._take_over_at = _NEVER
        self._configured_at = 0.0 if options.request.config else _NEVER
        self._tidy_by = self._tidy_from = 0.0
        self._retry_in = _RETRY_FIRST
        self._takeover = TakeOver(log, wanted=options.take_over)

    # ---- from any thread

    def wake(self) -> None:
        """There may be something to do."""
        self._bell.ring()

    def stop(self) -> None:
        """End after the sync that is under way. Rules stay."""
        self._stopping = True
        self._bell.ring()

    def reload(self) -> Future[None]:
        """Read the configuration again; the result comes once that is done, or has failed."""
        return self.call(self._reload)

    def look(self) -> Future[None]:
        """Look at the node's addresses and interfaces now; the result comes when what follows is written."""
        return self.call(self._look)

    def call(self, call: Callable[[], T]) -> Future[T]:
        """The result of `call` in this thread, and so in the node's namespace."""
        future = self._calls.ask(call)
        self._bell.ring()
        return future

    # ---- in this thread

    def run(self) -> None:
        """See `Thread.run`."""
        error: BaseException | None = None
        try:
            with at_node(self._options.request, command=_COMMAND) as directory:
                self._entered(directory)
                self._work(directory)
        except BaseException as e:
            error = e
        self._calls.close()
        self._bell.close()
        self._ended(error)

    def _work(self, directory: Path) -> None:
        programmer = Programmer(self._options, self._state, self._record, self._log, self._checks, directory)
        self._bell.also(programmer.watch.filenos())
        self.programmer = programmer
        try:
            self._takeover.begin()
            while not self._stopping:
                self._calls.make()
                self._turn(programmer)
                if self._bell.wait(self._pause(programmer)):
                    self._notice(programmer)
        finally:
            programmer.close()

    def _turn(self, programmer: Programmer) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now >= self._configured_at:
            self._configured_at = now + _CONFIGURED
            if programmer.node.configuration_has_changed():
                self._reload()
        if now >= self._look_at:
            self._look_at = _NEVER
            self._attempt(programmer.look)
        if now >= self._check_at:
            self._check_at = now + self._options.sync_period
            self._attempt(programmer.check)
        if self._is_due(programmer) and now >= self._not_before:
            self._sync(programmer)
        if now >= self._housekeep_at:
            self._housekeep_at = _NEVER
            self._attempt(partial(self._housekeep, programmer))
        if now >= self._take_over_at and programmer.synced:
            self._take_over(programmer)
        if self._may_tidy(programmer, time.monotonic()):
            self._tidy(programmer)

    def _notice(self, programmer: Programmer) -> None:
        """Something has happened on the node."""
        happened = programmer.watch.read()
        now = time.monotonic()
        if happened.addresses or (happened.links and programmer.follows_links):
            self._look_at = min(self._look_at, now + _TOGETHER)
        if happened.lost or programmer.others(happened.generations):
            self._check_at = now

    def _is_due(self, programmer: Programmer) -> bool:
        return self._state.ready and (self._state.marked or not programmer.synced)

    def _may_tidy(self, programmer: Programmer, now: float) -> bool:
        """Whether it is conntrack's turn: in a pause between syncs, or when it has waited for long."""
        if not programmer.upkeep_due or now < self._tidy_from:
            return False
        return now >= self._tidy_by or not self._is_due(programmer)

    def _pause(self, programmer: Programmer) -> float:
        """Seconds until something is due; 0 where it is already."""
        moments = [self._look_at, self._check_at, self._housekeep_at, self._configured_at]
        if programmer.synced:
            moments.append(self._take_over_at)
        if self._is_due(programmer):
            moments.append(self._not_before)
        if programmer.upkeep_due:
            moments.append(self._tidy_from)
        return max(0.0, min(moments) - time.monotonic())

    def _sync(self, programmer: Programmer) -> None:
        began = time.monotonic()
        had = programmer.upkeep_due
        if self._attempt(programmer.sync):
            self._retry_in = _RETRY_FIRST
            self._not_before = began + self._options.min_sync_period
            if programmer.look_due:
                self._look_at = min(self._look_at, time.monotonic() + _TOGETHER)
            self._housekeep_at = min(self._housekeep_at, began + _HOUSEKEEPING)
            if self._check_at == _NEVER:
                self._check_at = began + self._options.sync_period
                self._take_over_at = began
            if not had:
                self._tidy_by = time.monotonic() + _UPKEEP_LATEST

    def _look(self) -> None:
        assert self.programmer is not None
        self._look_at = _NEVER
        if self._attempt(self.programmer.look) and self._is_due(self.programmer):
            self._sync(self.programmer)

    def _housekeep(self, programmer: Programmer) -> None:
        if programmer.housekeep():
            self._housekeep_at = time.monotonic() + _HOUSEKEEPING

    def _attempt(self, work: Callable[[], object]) -> bool:
        """Whether `work` succeeds; if not, the next sync comes later each time, and reads the kernel."""
        try:
            work()
        except KcompileError as error:
            if isinstance(error, UnsupportedError) and self._record.last_sync is None:
                raise  # it won't begin to work
            self._not_before = time.monotonic() + self._retry_in
            log_failure(self._log, str(error), self._retry_in)
            self._record.failed(str(error), self._retry_in)
            self._retry_in = min(_RETRY_MOST, self._retry_in * 2)
            return False
        return True

    def _tidy(self, programmer: Programmer) -> None:
        self._tidy_from = time.monotonic() + _UPKEEP_PAUSE
        try:
            programmer.tidy()
        except KcompileError as error:
            self._log.warning("conntrack: %s", error)
            self._tidy_from = time.monotonic() + _RETRY_MOST

    def _take_over(self, programmer: Programmer) -> None:
        self._take_over_at = time.monotonic() + self._options.sync_period
        try:
            self._takeover.go_on(programmer.frontends)
        except KcompileError as error:
            self._log.warning("kube-proxy's rules: %s", error)
        if self._takeover.done:
            self._take_over_at = _NEVER

    def _reload(self) -> None:
        assert self.programmer is not None
        try:
            self.programmer.node.reload()
        except KcompileError as error:
            self._log.error("the configuration stays as it was: %s", error)
        else:
            self._log.info("the configuration was read again")
            self.programmer.warnings.configuration(self.programmer.node.config)
            self._look_at = 0.0
