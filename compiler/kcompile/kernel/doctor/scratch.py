"""A child process with a network namespace of its own; both are gone when it has answered, or its time is up."""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ...errors import KernelError
from ..netns import CLONE_NEWNET

__all__ = ["Scratch"]

T = TypeVar("T")


class Scratch(Generic[T]):
    """Starts `work` at once, so that several run side by side; `result` waits for it."""

    def __init__(self, work: Callable[[], T], seconds: float = 300.0) -> None:
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reader)
            _child(work, writer)
        os.close(writer)

    def result(self) -> T:
        """What `work` returned; raises what it raised (it must pickle), or KernelError when it died or took too long."""
        data = b""
        with os.fdopen(self._reader, "rb", buffering=0) as stream:
            while select.select([stream], [], [], max(0.0, self._deadline - time.monotonic()))[0]:
                piece = stream.read(1 << 16)
                if not piece:
                    break
                data += piece
        late = not data and time.monotonic() >= self._deadline
        if late:
            os.killpg(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        if late:
            raise KernelError(f"the probe gave no answer in {self._seconds:g} s")
        if not data:
            raise KernelError(f"the probe died (status {status})")
        ok, result = pickle.loads(data)  # noqa: S301 (our own child's words)
        if ok:
            return result  # type: ignore[no-any-return]
        raise result


def _child(work: Callable[[], Any], writer: int) -> None:
    """Never returns. A process group of its own, so that whatever it has started can be ended with it."""
    try:
        os.setpgid(0, 0)
        try:
            _unshare()
            result = (True, work())
        except Exception as e:
            result = (False, e if isinstance(e, KernelError) else KernelError(f"{type(e).__name__}: {e}"))
        with os.fdopen(writer, "wb") as stream:
            pickle.dump(result, stream)
    finally:
        os._exit(0)


def _unshare() -> None:
    # os.unshare is new in Python 3.12
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise KernelError(f"no namespace to try in: {os.strerror(number)}{' (root is needed)' if os.geteuid() else ''}")
