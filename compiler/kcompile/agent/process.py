"""An agent as a process of its own: its signals, and what systemd is told."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from .agent import Agent
from .notify import Notifier

__all__ = ["run"]


async def run(agent: Agent, notifier: Notifier) -> None:
    """Run `agent` until SIGTERM or SIGINT. SIGHUP: it reads its configuration again.

    :raises KcompileError: see `Agent.run`
    """
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(agent.run())
    synced = asyncio.Event()

    def reload() -> None:
        notifier.reloading()
        agent.reload()
        notifier.ready()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    loop.add_signal_handler(signal.SIGHUP, reload)
    agent.record.listen(lambda _: _set(loop, synced))
    telling = asyncio.ensure_future(_tell(agent, notifier, synced))
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        notifier.stopping()
        telling.cancel()


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set `event` from another thread."""
    loop.call_soon_threadsafe(event.set)


async def _tell(agent: Agent, notifier: Notifier, synced: asyncio.Event) -> None:
    """Tell systemd when the first rules are in, and from then on that the agent lives."""
    await synced.wait()
    notifier.ready(f"mode {agent.mode}, {len(agent.programmed())} Services")
    await notifier.watch(lambda: agent.in_node(lambda: None))
