"""A controller's work: keys of objects to decide about, each once, however often it is added.

As client-go's util/workqueue: a key that fails comes back after a time that doubles. And a key that is costly
rests, so that many changes of a large object are looked at together, and others have their turn.
"""

from __future__ import annotations

import asyncio

from ..client import Key

__all__ = ["Queue"]

_FIRST_RETRY = 0.02  # seconds
_LONGEST_RETRY = 30.0

_CHEAP = 0.001  # seconds of CPU time that no key rests for
_REST = 10  # times what it took
_LONGEST_REST = 0.5  # seconds


class Queue:
    """For one event loop; make it in the loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._keys: dict[Key, None] = {}
        self._filled = asyncio.Event()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._resting: dict[Key, float] = {}

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Add the key when it has rested; now, if it is urgent."""
        until = self._resting.get(key)
        if until is not None and until > (now := self._loop.time()) and not urgent:
            self.add_after(key, until - now)
            return
        self._resting.pop(key, None)
        self._keys[key] = None
        self._filled.set()

    def worked(self, key: Key, seconds: float, *, cpu: float) -> None:
        """The key took so long, and so much CPU time."""
        if cpu > _CHEAP:
            self._resting[key] = self._loop.time() + min(seconds * _REST, _LONGEST_REST)
        self._failures.pop(key, None)

    def add_after(self, key: Key, seconds: float) -> None:
        """Add the key then. Of two times for one key, the sooner holds."""
        when = self._loop.time() + max(seconds, 0)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = self._loop.call_at(when, self._due, key)

    async def next(self) -> Key:
        """The key that has waited longest; it leaves the queue."""
        while not self._keys:
            self._filled.clear()
            await self._filled.wait()
        key = next(iter(self._keys))
        del self._keys[key]
        return key

    def failed(self, key: Key) -> float:
        """Add the key again later; returns in how many seconds."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        seconds = min(_FIRST_RETRY * 2.0 ** min(count, 20), _LONGEST_RETRY)
        self.add_after(key, seconds)
        return seconds

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)
