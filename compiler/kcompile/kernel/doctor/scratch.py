"""A child process in a new netns; both are removed when it has answered or its time is up."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ...errors import KernelError
from ..child import Child
from ..netns import CLONE_NEWNET

__all__ = ["Scratch"]

T = TypeVar("T")


class Scratch(Generic[T]):
    """Starts `work` at once, so that several run side by side; `result` waits for it."""

    def __init__(self, work: Callable[[], T], seconds: float = 300.0) -> None:
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self._child = Child(work, _prepare)

    def result(self) -> T:
        """What `work` returned; raises KernelError: the one that it raised, what else it raised, that it died
        or took too long.
        """
        late = not self._child.answers(self._deadline - time.monotonic())
        if late:
            os.killpg(self._child.pid, signal.SIGKILL)
        try:
            return self._child.result(
                lambda status: KernelError(
                    f"the probe gave no answer in {self._seconds:g} s"
                    if late
                    else f"the probe died (status {status})"
                )
            )
        except KernelError:
            raise
        except Exception as e:
            raise KernelError(f"{type(e).__name__}: {e}") from e


def _prepare() -> None:
    """A process group of its own, so that whatever the work has started can be ended with it; and a network
    namespace.
    """
    os.setpgid(0, 0)
    # os.unshare is new in Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise KernelError(
            f"no namespace to try in: {os.strerror(number)}{' (root is needed)' if os.geteuid() else ''}"
        )
