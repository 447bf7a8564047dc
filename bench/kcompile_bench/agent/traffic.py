"""Connections to Services, all the time, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Set
from typing import NamedTuple, Self

from kcompile.kernel.netns import entered

from .pods import ask

__all__ = ["Count", "Traffic"]

_TIMEOUT = 3.0  # seconds
_RESENT = 0.9  # seconds: TCP sends a SYN again after one


class Count(NamedTuple):
    """Connections; those that no Pod of the Service answered; those whose first SYN was lost."""

    made: int
    failed: int
    slow: int


class Traffic:
    """Connects to each of `services` in turn, `rate` times a second in all; a context manager.

    :param services: VIP -> the Pods that may answer; it may change meanwhile
    """

    def __init__(self, netns: str, services: Mapping[str, Set[str]], rate: float) -> None:
        self._netns, self._services, self._rate = netns, services, rate
        self._made = self._failed = self._slow = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def count(self) -> Count:
        """What has been so far."""
        return Count(self._made, self._failed, self._slow)

    def _run(self) -> None:
        with entered(self._netns):
            due = time.monotonic()
            while True:
                for vip, pods in list(self._services.items()):
                    due = max(due + 1 / self._rate, time.monotonic() - 1.0)
                    if self._stop.wait(max(0.0, due - time.monotonic())):
                        return
                    self._connect(vip, pods)

    def _connect(self, vip: str, pods: Set[str]) -> None:
        began = time.monotonic()
        self._made += 1
        try:
            answer = ask(vip, _TIMEOUT)
        except OSError as error:
            self._fail(f"{vip}: {error}")
        else:
            if answer not in pods:
                self._fail(f"{vip}: answered by {answer}")
        self._slow += time.monotonic() - began > _RESENT

    def _fail(self, error: str) -> None:
        self._failed += 1
        self.errors.append(error)
