"""How the event loop's thread speaks to the kernel thread: it rings, and asks for calls."""

from __future__ import annotations

import math
import os
import select
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from ..errors import KernelError

__all__ = ["Bell", "Calls"]

T = TypeVar("T")


class Bell:
    """Wakes the thread that waits for it, from any other."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def also(self, descriptors: Iterable[int]) -> None:
        """A wait ends when one of these can be read, too."""
        for each in descriptors:
            self._poll.register(each, select.POLLIN)

    def ring(self) -> None:
        """End a wait, or the next one. Nothing after `close`."""
        with self._lock:
            if self._fd >= 0:
                os.eventfd_write(self._fd, 1)

    def wait(self, seconds: float) -> bool:
        """Wait until it rings, or for `seconds`; whether a descriptor of `also` can be read."""
        ready = self._poll.poll(None if seconds == math.inf else math.ceil(seconds * 1000))
        readable = {fd for fd, _ in ready}
        if self._fd in readable:
            os.eventfd_read(self._fd)
        return bool(readable - {self._fd})

    def close(self) -> None:
        """Free the descriptor."""
        with self._lock:
            os.close(self._fd)
            self._fd = -1


class Calls:
    """Calls that one thread asks another to make."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Callable[[], Any], Future[Any]]] = []
        self._closed = False

    def ask(self, call: Callable[[], T]) -> Future[T]:
        """The result of `call`, once the other thread has made it; KernelError after `close`."""
        future: Future[T] = Future()
        with self._lock:
            if not self._closed:
                self._waiting.append((call, future))
                return future
        future.set_exception(KernelError("the agent has ended"))
        return future

    def make(self) -> None:
        """Make those that wait, in this thread."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for call, future in waiting:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)

    def close(self) -> None:
        """Refuse those that wait, and all later ones."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(KernelError("the agent has ended"))
