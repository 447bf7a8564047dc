"""An agent as a process of its own: its signals, and what systemd is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from ..errors import KernelError
from .agent import Agent
from .notify import Notifier

__all__ = ["run"]

_PATIENCE = 0.7  # seconds that a sync may go on after SIGTERM


async def run(agent: Agent, notifier: Notifier) -> None:
    """Run `agent` until SIGTERM or SIGINT. SIGHUP: it reads its configuration again.

    A sync that takes long doesn't keep the process: it ends in the midst of it then, as by SIGKILL. The next
    agent reads the kernel and goes on from there.

    :raises KcompileError: see `Agent.run`
    """
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(agent.run())
    synced = asyncio.Event()
    tasks: set[asyncio.Future[None]] = set()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        tasks.add(task := asyncio.ensure_future(work))
        task.add_done_callback(tasks.discard)

    def reload() -> None:
        begin(_reload(agent, notifier, synced))

    def end() -> None:
        notifier.stopping()
        running.cancel()
        loop.call_later(_PATIENCE, _leave)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reload)
    agent.record.listen(lambda _: _set(loop, synced))
    begin(_tell(agent, notifier, synced))
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        notifier.stopping()
        for task in tasks:
            task.cancel()


def _leave() -> None:
    """End this process, whatever its threads do."""
    sys.stderr.flush()
    os._exit(0)


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set `event` from another thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: a second signal came
        loop.call_soon_threadsafe(event.set)


async def _tell(agent: Agent, notifier: Notifier, synced: asyncio.Event) -> None:
    """Tell systemd when the first rules are in and the servers up, and from then on that the agent lives."""
    await synced.wait()
    await agent.serving()
    notifier.ready(f"mode {agent.mode}, {len(agent.programmed())} Services")
    with contextlib.suppress(KernelError):  # the agent has ended, and says why
        await notifier.watch(lambda: agent.in_node(lambda: None))


async def _reload(agent: Agent, notifier: Notifier, synced: asyncio.Event) -> None:
    """Read the configuration again. systemd is told, unless it still waits for the first rules."""
    if synced.is_set():
        notifier.reloading()
    with contextlib.suppress(KernelError):  # the agent has ended
        await agent.reload()
        if synced.is_set():
            notifier.ready()
