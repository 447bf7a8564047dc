"""What the agent tells systemd (sd_notify(3)): when it is ready, reloads, stops, and that it is alive.

Without systemd, NOTIFY_SOCKET isn't set and every call does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Notifier"]


class Notifier:
    """`environment`: the process's."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_seconds = _watchdog(environment)

    def ready(self, status: str = "") -> None:
        """The rules are in place; also after a reload."""
        self._send(f"READY=1\nSTATUS={status}" if status else "READY=1")

    def reloading(self) -> None:
        """The configuration is read again. `ready` says when that is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The agent ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={text}")

    async def watch(self, alive: Callable[[], Awaitable[object]]) -> None:
        """Tell systemd's watchdog, until cancelled, that this agent lives: each time that `alive`, a call in
        the kernel thread, has returned.
        """
        while self._watchdog_seconds:
            await alive()
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_seconds / 2)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one,
            contextlib.suppress(OSError),  # the agent's work doesn't depend on systemd
        ):
            one.setblocking(False)
            one.sendto(message.encode(), address)


def _watchdog(environment: Mapping[str, str]) -> float:
    """Seconds within which systemd wants a sign of life, 0 where it wants none of this process."""
    if environment.get("WATCHDOG_PID", "") not in ("", str(os.getpid())):
        return 0.0
    with contextlib.suppress(ValueError):
        return int(environment.get("WATCHDOG_USEC", "")) / 1e6
    return 0.0
