"""The thin loop around each controller: it watches, takes a key, lets the controller decide, and writes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from ...apiserver import StatusError
from ..client import Client, Key, Obj
from .queue import Queue
from .writes import Write, carry_out

__all__ = ["Controller", "run_controller"]

_PASSING = ("AlreadyExists", "Conflict", "Forbidden")
"""One of the same name is being deleted; another write came first; the namespace is being deleted."""

_log = logging.getLogger(__name__)


class Controller(Protocol):
    """One controller. `name`: the component of its Events. `kinds`: those whose changes concern it."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> Sequence[str]: ...

    def affected(self, kind: str, old: Obj | None, new: Obj | None, /) -> Iterable[Key]:
        """The keys to decide about after this change."""
        ...

    def decide(self, key: Key, /) -> Iterable[Write]:
        """What to write so that the object of this key comes nearer to what it should be; [] at the end."""
        ...


async def run_controller(client: Client, controller: Controller) -> None:
    """Run until cancelled. A key whose decision or write fails is logged and tried again later."""
    queue = Queue()

    def changed(kind: str, old: Obj | None, new: Obj | None) -> None:
        urgent = _wants_other(old, new)
        for key in controller.affected(kind, old, new):
            queue.add(key, urgent=urgent)

    stop = client.watch(controller.kinds, changed)
    try:
        while True:
            key = await queue.next()
            _step(client, controller, queue, key)
            await asyncio.sleep(0)
    finally:
        stop()
        queue.close()


def _wants_other(old: Obj | None, new: Obj | None) -> bool:
    """Whether what an object asks for has changed: that waits for no rest."""
    if old is None or new is None:
        return False
    before, now = (each["metadata"].get("generation") for each in (old, new))
    return bool(before != now)


def _step(client: Client, controller: Controller, queue: Queue, key: Key) -> None:
    began, cpu = time.monotonic(), time.thread_time()
    try:
        again = carry_out(client, controller.decide(key), controller.name)
    except StatusError as error:
        seconds = queue.failed(key)
        level = logging.DEBUG if error.reason in _PASSING else logging.WARNING
        _log.log(level, "%s: %s: %s; again in %.1f s", controller.name, "/".join(key), error, seconds)
    except Exception:
        seconds = queue.failed(key)
        _log.exception("%s: %s failed; again in %.1f s", controller.name, "/".join(key), seconds)
    else:
        queue.worked(key, time.monotonic() - began, cpu=time.thread_time() - cpu)
        if again is not None:
            queue.add_after(key, again)
