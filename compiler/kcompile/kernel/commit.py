"""Runs an apply's writes in a child of its own session, so that they end even when the command is killed (ADR
0005).

The child is forked with everything it needs already in memory and holds the node's lock; `kill -9` of the
parent, or a closed terminal, leaves it to finish. The kernel goes from the old state to the new one either
way.
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

    `waiting` is called about every second that it takes.
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
