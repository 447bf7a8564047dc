"""How long to wait: the pauses between attempts, and the bounds on an answer and on silence."""

from __future__ import annotations

import random

import msgspec

__all__ = ["Backoff", "Timing"]

_LONGEST_RETRY_AFTER = 300.0
"""Seconds that a server's Retry-After is obeyed for at most."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """All in seconds.

    `shortest`, `longest`: of a pause between attempts. `answer`: for the head of an answer, and between two
    pieces of a list. `page`: for a whole page. `watch`: the range in which a watch's timeoutSeconds is
    drawn. `silence`: without an event or bookmark on a watch; a server sends a bookmark about once a minute.
    `absent`: before a kind that the server doesn't have is looked for again.
    """

    shortest: float = 0.8
    longest: float = 30.0
    answer: float = 30.0
    page: float = 300.0
    watch: tuple[float, float] = (300.0, 600.0)
    silence: float = 150.0
    absent: float = 600.0


class Backoff:
    """Pauses that double from `timing.shortest` to `timing.longest`, each drawn from its upper half: agents
    whose server restarts don't come back together.
    """

    def __init__(self, timing: Timing, rng: random.Random) -> None:
        self._timing, self._rng = timing, rng
        self._ceiling = 0.0

    def pause(self, worked: float = 0.0, retry_after: float | None = None) -> float:
        """Seconds to wait now.

        `worked`: how long the last attempt went well; as long as the longest pause, and the pauses begin
        again. `retry_after`: what the server asked for, the least there is.
        """
        shortest, longest = self._timing.shortest, self._timing.longest
        if worked >= longest:
            self._ceiling = 0.0
        self._ceiling = min(max(self._ceiling * 2, shortest * 2), longest)
        pause = self._rng.uniform(max(self._ceiling / 2, shortest), self._ceiling)
        if retry_after is None:
            return pause
        return max(pause, min(retry_after, _LONGEST_RETRY_AFTER) + self._rng.uniform(0, shortest))
