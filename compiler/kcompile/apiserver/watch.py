"""Watches: the changes after a version, as lines of JSON, to any number of watchers.

No watcher has a queue. Each reads the store's history from its own place, and ends when the changes that it
hasn't read yet are dropped; the client then watches again and is told 410.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec

from .collection import Collection
from .options import Options, Selection
from .records import Event, event_line
from .resources import Resource
from .status import StatusError, expired, too_large_version
from .store import Store

__all__ = ["Bell", "Lines", "Pace", "watch_lines"]

_CHUNK = 64 * 1024  # bytes: initial events go together up to this size
_LAST_BOOKMARK = 2.0  # seconds before the end, as a real server's


class Pace(NamedTuple):
    """`bookmarks`: seconds between bookmarks. `least`: seconds that a watch without timeoutSeconds lasts at
    least; at most twice that.
    """

    bookmarks: float = 60.0
    least: float = 1800.0


class Bell:
    """Wakes the watchers of a kind, in their event loop, after a write in any thread."""

    def __init__(self, store: Store) -> None:
        self._store, self._loop = store, asyncio.get_running_loop()
        self._events: dict[Resource, asyncio.Event] = {}
        self._rung: set[Resource] = set()
        self.closed = asyncio.Event()
        store.listen(self._written)

    def event(self, resource: Resource) -> asyncio.Event:
        """Set at the next write. Ask for it before reading the history, so that no write is missed."""
        return self._events.setdefault(resource, asyncio.Event())

    def close(self) -> None:
        """End all watches."""
        self._store.unlisten(self._written)
        self.closed.set()
        for event in self._events.values():
            event.set()

    def _written(self, resource: Resource) -> None:
        if resource not in self._rung:
            self._rung.add(resource)
            self._loop.call_soon_threadsafe(self._ring, resource)

    def _ring(self, resource: Resource) -> None:
        self._rung.discard(resource)
        if (event := self._events.pop(resource, None)) is not None:
            event.set()


class Lines(Protocol):
    """Another form of a watch's lines than the objects themselves."""

    def line(self, kind: str, obj: dict[str, Any]) -> bytes: ...


async def watch_lines(
    store: Store,
    collection: Collection,
    options: Options,
    bell: Bell,
    pace: Pace,
    form: Lines | None = None,
) -> AsyncIterator[bytes]:
    """The watch's body, piece by piece; each is one or more whole lines.

    `form`: another form of them than the objects themselves.
    """
    timer = _Timer(options, pace)
    try:
        with store.lock:
            first, place = _beginning(store, collection, options)
    except StatusError as error:
        yield b'{"type":"ERROR","object":%b}\n' % error.body()
        return
    for chunk in _chunks(_formed(first, form)):
        yield chunk
    while not bell.closed.is_set():
        written = bell.event(collection.resource)
        with store.lock:
            events, reached = collection.since(place), store.version
        if events is None:
            return
        place += len(events)
        for chunk in _chunks(_formed(_lines(events, options), form)):
            yield chunk
        if timer.over():
            return
        if timer.bookmark() and reached >= (options.version or 0):
            yield _formed([_bookmark(collection.resource, reached)], form)[0]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(timer.next()):
                await written.wait()


def _formed(lines: list[bytes], form: Lines | None) -> list[bytes]:
    """Lines with objects, in another form."""
    if form is None:
        return lines
    events = [msgspec.json.decode(line) for line in lines]
    return [form.line(event["type"], event["object"]) for event in events]


class _Timer:
    """When a watch ends, and when its bookmarks are due: again and again, and once shortly before the end."""

    def __init__(self, options: Options, pace: Pace) -> None:
        self._now, self._pace = asyncio.get_running_loop().time, pace
        self._end = self._now() + (options.timeout or pace.least * (1 + random.random()))
        self._due = self._next_bookmark() if options.bookmarks else self._end

    def over(self) -> bool:
        return self._now() >= self._end

    def bookmark(self) -> bool:
        """True if a bookmark is due; the next one is set then."""
        due = self._due < self._end and self._now() >= self._due
        if due:
            self._due = self._next_bookmark()
        return due

    def next(self) -> float:
        """When something is due next, on the event loop's clock."""
        return min(self._due, self._end)

    def _next_bookmark(self) -> float:
        now, last = self._now(), self._end - _LAST_BOOKMARK
        return min(now + self._pace.bookmarks, last if now < last else self._end)


def _beginning(store: Store, collection: Collection, options: Options) -> tuple[list[bytes], int]:
    """The lines that come first, and the place in the history to go on from. Under the store's lock.

    :raises StatusError: 410 or 504, which a watch has in an event
    """
    version, initial = options.version, options.initial_events
    if initial or (initial is None and not version):
        if version and version > store.version:
            raise too_large_version(version, store.version)
        lines = [event_line("ADDED", item) for item in options.selection.of(collection.sorted_now())]
        if initial and options.bookmarks:
            lines.append(_bookmark(collection.resource, store.version, initial=True))
        return lines, collection.place(store.version)
    if not version:
        return [], collection.place(store.version)
    if version < collection.oldest:
        raise expired(f"too old resource version: {version} ({collection.oldest})")
    return [], collection.place(version)


def _lines(events: Iterable[Event], options: Options) -> list[bytes]:
    """What a watcher sees of `events`."""
    first, selection = options.version or 0, options.selection
    return [
        event.line(kind)
        for event in events
        if event.version > first and (kind := _seen(event, selection)) is not None
    ]


def _seen(event: Event, selection: Selection) -> str | None:
    """What a change is to who sees only the selection: entering it is ADDED, leaving it is DELETED."""
    before, now = selection.matches(event.before), selection.matches(event.now)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


def _bookmark(resource: Resource, version: int, *, initial: bool = False) -> bytes:
    meta: dict[str, object] = {"resourceVersion": str(version)}
    if initial:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    rest = f",{resource.empty}" if resource.empty else ""
    text = b'%b"metadata":%b%b}' % (resource.head, msgspec.json.encode(meta), rest.encode())
    return b'{"type":"BOOKMARK","object":%b}\n' % text


def _chunks(lines: list[bytes]) -> Iterable[bytes]:
    """`lines` joined up to the size of a chunk."""
    joined: list[bytes] = []
    size = 0
    for line in lines:
        joined.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield b"".join(joined)
            joined, size = [], 0
    if joined:
        yield b"".join(joined)
