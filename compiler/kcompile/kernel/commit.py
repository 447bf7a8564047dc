"""Runs an apply's writes in a child of its own session, so that they end even when the command is killed (ADR 0005).

The child is forked with everything it needs already in memory and holds the node's lock; `kill -9` of the parent, or a
closed terminal, leaves it to finish. The kernel goes from the old state to the new one either way.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import KernelError

__all__ = ["detached"]

T = TypeVar("T")


def detached(work: Callable[[], T], waiting: Callable[[], None] | None = None) -> T:
    """Run `work` in a forked child and return what it returns (it must pickle), or raise what it raised.

    `waiting` is called about every second that it takes.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(work, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        while waiting is not None and not select.select([stream], [], [], 1.0)[0]:
            waiting()
        data = stream.read()
    _, status = os.waitpid(pid, 0)
    if not data:
        raise KernelError(f"the process that writes to the kernel died (status {status}); apply again to repair")
    ok, result = pickle.loads(data)  # noqa: S301 (our own child's words)
    if ok:
        return result  # type: ignore[no-any-return]
    raise result


def _child(work: Callable[[], Any], writer: int) -> None:
    """Never returns. A parent that is gone is no reason to stop: its pipe just has no reader."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            result = (True, work())
        except Exception as e:
            result = (False, e)
        try:
            data = pickle.dumps(result)
        except Exception:
            data = pickle.dumps((False, KernelError(str(result[1]))))
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
        code = 0
    except OSError:
        code = 0
    finally:
        os._exit(code)
