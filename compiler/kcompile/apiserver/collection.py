"""The objects of one kind, and their newest changes."""

from __future__ import annotations

from bisect import bisect_right

from .records import Event, Stored
from .resources import Resource
from .status import expired

__all__ = ["Collection"]

_GONE_LIST = "The resourceVersion for the provided list is too old."


class Collection:
    """The objects of `resource`, and at least the newest `limit` of their changes.

    `oldest`: the version from which every later change is still known. Only the store writes here.
    """

    def __init__(self, resource: Resource, limit: int) -> None:
        self.resource = resource
        self.objects: dict[str, Stored] = {}
        self.oldest = 0
        self.dropped = 0  # changes that are no longer in `history`: a reader's place outlives them
        self.history: list[Event] = []
        self._limit = limit
        self._order: list[str] | None = []

    def write(self, event: Event) -> None:
        item = event.now or event.before
        assert item is not None
        if event.now is None:
            del self.objects[item.key]
        else:
            self.objects[item.key] = event.now
        if event.now is None or event.before is None:
            self._order = None
        self.history.append(event)
        if len(self.history) >= 2 * self._limit:
            self.forget(self.history[-self._limit - 1].version)

    def forget(self, version: int) -> None:
        """Drop the changes up to `version`."""
        count = bisect_right(self.history, version, key=_version)
        del self.history[:count]
        self.dropped += count
        self.oldest = max(self.oldest, version)

    def place(self, version: int) -> int:
        """Where the changes after `version` begin, for `since`."""
        return self.dropped + bisect_right(self.history, version, key=_version)

    def since(self, place: int) -> list[Event] | None:
        """The changes from `place` on; None where some of them are dropped."""
        return None if place < self.dropped else self.history[place - self.dropped :]

    def sorted_now(self) -> list[Stored]:
        if self._order is None:
            self._order = sorted(self.objects)
        return [self.objects[key] for key in self._order]

    def sorted_at(self, version: int) -> list[Stored]:
        """The objects as they were at `version`, in the order of their keys.

        :raises StatusError: 410, where the changes since then aren't known any more
        """
        if version < self.oldest:
            raise expired(_GONE_LIST)
        later = self.history[self.place(version) - self.dropped :]
        if not later:
            return self.sorted_now()
        then: dict[str, Stored | None] = dict(self.objects)
        for event in reversed(later):
            item = event.before or event.now
            assert item is not None
            then[item.key] = event.before
        return [item for _, item in sorted(then.items()) if item is not None]


def _version(event: Event) -> int:
    return event.version
