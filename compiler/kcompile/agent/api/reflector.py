"""One kind followed for good: listed, watched from there, and begun again after each kind of failure.

Where the server offers it, the list comes as the first events of the watch (sendInitialEvents): the server
then makes no list in memory. Otherwise it comes in pages. Events count by the resourceVersion of their
object: one that is older than what is held, or than its deletion, changes nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

import msgspec

from ...errors import ApiError
from ...spec.objects import Object
from ..source import Sink
from .backoff import Backoff, Timing
from .connection import Connection
from .decode import Decoder, Event, Item
from .failures import CutError, ExpiredError, RefusedError, SilentError
from .lists import list_all
from .resources import Resource
from .watches import watch

__all__ = ["Reflector"]

_Key = tuple[str, str]
_BRIEF = 1.0
"""Seconds: a watch that ends sooner, with nothing in it, is a failure."""


class Reflector:
    """Keeps `sink` true for one kind."""

    def __init__(
        self, resource: Resource, connection: Connection, sink: Sink, timing: Timing, rng: random.Random
    ) -> None:
        self._resource, self._connection, self._sink = resource, connection, sink
        self._timing, self._rng = timing, rng
        self._decoder = Decoder(resource)
        self._backoff = Backoff(timing, rng)
        self._version = ""  # to watch from; empty: list first
        self._versions: dict[_Key, int] = {}  # of every object; negative: deleted since the watch began
        self._initial: dict[_Key, Item] | None = None  # of a streamed list, until it is whole
        self._streams = True  # the server offers streamed lists, as far as is known
        self._pages_next = False  # the last streamed list broke off
        self._listed = self._failing = self._watched = False
        self._events = 0  # of this attempt
        self._opened_at: float | None = None  # when the watch of this attempt began
        self._useless = 0  # watches in a row that expired, or went silent, without an event

    async def run(self) -> None:
        """Follow the kind until cancelled. Raises nothing: failures go to the sink, and are retried."""
        while True:
            self._events, self._opened_at = 0, None
            try:
                await self._follow()
                self._check_end()
            except ApiError as error:
                if pause := self._pause(error):
                    await asyncio.sleep(pause)

    async def _follow(self) -> None:
        """List where nothing is held yet, and watch until the server ends it."""
        if not self._version and (self._pages_next or not self._streams):
            self._pages_next = False
            items, version = await list_all(self._connection, self._resource, self._decoder, self._timing)
            self._replace(items, version)
        low, high = self._timing.watch
        params = {"timeoutSeconds": str(max(int(self._rng.uniform(low, high)), 1))}
        if self._version:
            self._initial = None
            self._versions = {key: number for key, number in self._versions.items() if number > 0}
            params["resourceVersion"] = self._version
        else:
            self._initial = {}
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        await watch(
            self._connection,
            self._resource,
            self._decoder,
            self._timing,
            params,
            self._opened,
            self._handle,
        )

    # --- what comes in ---

    def _worked(self) -> float:
        """Seconds since the watch of this attempt began; 0 where none did."""
        return 0.0 if self._opened_at is None else time.monotonic() - self._opened_at

    def _check_end(self) -> None:
        """Raise CutError where a watch that the server ended in order was of no use."""
        what = f"watch of {self._resource.plural}"
        if self._initial is not None:
            raise CutError(f"{what}: ended before the list was whole")
        if not self._events and self._worked() < _BRIEF:
            raise CutError(f"{what}: ended at once")

    def _opened(self) -> None:
        self._opened_at = time.monotonic()
        if self._watched:
            self._sink.restarted(self._resource.kind)
        self._watched = True
        if self._initial is None:
            self._recovered()

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            self._sink.recovered(self._resource.kind)

    def _handle(self, event: Event) -> None:
        self._events += 1
        self._useless = 0
        item = event.item
        if self._initial is not None:
            if event.initial_end:
                initial, self._initial = list(self._initial.values()), None
                self._replace(initial, item.version)
            elif event.type == "DELETED":
                self._initial.pop((item.namespace, item.name), None)
            elif event.type != "BOOKMARK":
                self._initial[item.namespace, item.name] = item
            return
        self._version = _later(self._version, item.version)
        if event.type == "DELETED":
            self._delete(item)
        elif event.type != "BOOKMARK":
            self._put(item)

    def _put(self, item: Item) -> None:
        key = (item.namespace, item.name)
        number = _number(item.version)
        if number and number <= abs(self._versions.get(key, 0)):
            return
        self._versions[key] = number or 1
        if item.object is not None:
            self._sink.put(self._resource.kind, item.object)
        elif item.error is not None:
            self._sink.bad(self._resource.kind, *key, item.error)

    def _delete(self, item: Item) -> None:
        key = (item.namespace, item.name)
        known, number = self._versions.get(key, 0), _number(item.version)
        if known > 0 and not 0 < number < known:
            self._versions[key] = -max(number, known)
            self._sink.gone(self._resource.kind, *key)

    def _replace(self, items: list[Item], version: str) -> None:
        """Hold what a list says; of objects in it that can't be read, what was held before."""
        unreadable = [item for item in items if item.error is not None]
        self._versions = {(item.namespace, item.name): _number(item.version) or 1 for item in items}
        self._version, self._listed = version, True
        for item in unreadable:
            assert item.error is not None
            self._sink.bad(self._resource.kind, item.namespace, item.name, item.error)
        keys = [(item.namespace, item.name) for item in unreadable]
        self._sink.listed(self._resource.kind, _drained(items), keys)
        self._recovered()

    # --- what goes wrong ---

    def _pause(self, error: ApiError) -> float:
        """Seconds to wait before the next attempt, after what `error` asks for has been noted."""
        broke_off, self._initial = self._initial is not None, None
        if isinstance(error, RefusedError) and self._does_without(error, streaming=broke_off):
            return 0.0
        if isinstance(error, RefusedError) and error.status == 404 and self._is_lacking():
            return self._timing.absent
        self._pages_next = broke_off and self._opened_at is not None
        expired = isinstance(error, ExpiredError)
        if expired or isinstance(error, SilentError):
            self._useless += 1
            if expired or self._useless > 1:
                self._version = ""
            if self._useless == 1:
                return 0.0
        if not (isinstance(error, CutError) and self._events):
            self._failing = True
            self._sink.failed(self._resource.kind, error)
        retry_after = error.retry_after if isinstance(error, RefusedError) else None
        return self._backoff.pause(self._worked(), retry_after)

    def _does_without(self, error: RefusedError, *, streaming: bool) -> bool:
        """True if the server refused a part of the question that an older one doesn't know, which is left out
        from now on.
        """
        if error.status == 400 and self._resource.field_optional and "field" in str(error):
            self._resource = msgspec.structs.replace(self._resource, field="", field_optional=False)
            return True
        if error.status in (400, 422) and streaming:
            self._streams = False
            return True
        return False

    def _is_lacking(self) -> bool:
        """True if the server is one that doesn't have the kind, which then has no objects."""
        if not self._resource.may_lack or (self._listed and self._versions):
            return False
        if not self._listed:
            self._replace([], "")
        return True


def _drained(items: list[Item]) -> Iterator[Object]:
    """The objects of `items`, each let go as it is taken: two copies of a large cluster don't fit."""
    while items:
        item = items.pop()
        if item.object is not None:
            yield item.object


def _number(version: str) -> int:
    """A resourceVersion as a number; 0 for one that isn't."""
    return int(version) if version.isascii() and version.isdigit() else 0


def _later(one: str, other: str) -> str:
    """The later of two resourceVersions; `other` where they can't be compared."""
    return one if not other or _number(one) > _number(other) > 0 else other
