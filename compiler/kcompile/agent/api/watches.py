"""One watch: its answer's chunks to lines, and lines to events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ...errors import ApiError
from .backoff import Timing
from .connection import Connection
from .decode import Decoder, Event
from .failures import SilentError
from .resources import Resource

__all__ = ["Lines", "watch"]

_LONGEST_LINE = 32 << 20
"""Bytes of one event; etcd holds no object beyond some megabytes."""

_GRAIN = 10
"""The silence that is allowed is exact to this part of it: a timer moved with each event costs as much as the
event.
"""


class Lines:
    """Chunks to whole lines: a line may span chunks, and a chunk may hold many."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in `chunk`, without their newline; empty ones are left out.

        :raises ApiError: where a line has no end
        """
        *lines, rest = chunk.split(b"\n")
        if lines and self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
        if lines:
            self._parts, self._length = [], 0
        if rest:
            self._parts.append(rest)
            self._length += len(rest)
            if self._length > _LONGEST_LINE:
                raise ApiError(f"an event of more than {_LONGEST_LINE:,} bytes")
        return [line for line in lines if line]


async def watch(
    connection: Connection,
    resource: Resource,
    decoder: Decoder,
    timing: Timing,
    params: Mapping[str, str],
    opened: Callable[[], None],
    handle: Callable[[Event], None],
) -> None:
    """Give each event to `handle`, until the server ends the watch in order; `opened` when it begins.

    Not compressed: an event is small and alone, and must not wait in a compressor for the next one.

    :raises ApiError: SilentError after `timing.silence` seconds without a whole event; another where the
        server refuses, the version has expired, or the connection breaks
    """
    what = f"watch of {resource.plural}"
    loop = asyncio.get_running_loop()
    lines = Lines()
    query = {"watch": "1", "allowWatchBookmarks": "true", **resource.selectors, **params}
    async with connection.get(resource.path, query, what, timing, lasting=True) as answer:
        opened()
        moved = loop.time()
        try:
            async with asyncio.timeout(timing.silence) as limit:
                async for chunk in answer.aiter_bytes():
                    whole = lines.feed(chunk)
                    for line in whole:
                        handle(decoder.event(line))
                    if whole and (now := loop.time()) - moved > timing.silence / _GRAIN:
                        limit.reschedule(now + timing.silence)
                        moved = now
        except TimeoutError:
            raise SilentError(f"{what}: no event for {timing.silence:.0f} s") from None
