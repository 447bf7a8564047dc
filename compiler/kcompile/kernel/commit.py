"""Runs an apply's writes in a child with its own session, so that they end if the command dies (ADR 0005).

The child has everything it needs in memory and holds the node's lock. It survives `kill -9` of its parent and
a closed terminal, so that the kernel always gets from the old state to the new one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TypeVar

from ..errors import KernelError
from .child import Child

__all__ = ["detached"]

T = TypeVar("T")


def detached(work: Callable[[], T], waiting: Callable[[], None] | None = None) -> T:
    """Run `work` in a forked child and return what it returns (it must pickle), or raise what it raised.

    `waiting` is called about once a second meanwhile. Raises KernelError where the child dies.
    """
    child = Child(work, _detach)
    while waiting is not None and not child.answers(1.0):
        waiting()
    return child.result(
        lambda status: KernelError(
            f"the process that writes to the kernel died (status {status}); apply again to repair"
        )
    )


def _detach() -> None:
    os.setsid()
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
