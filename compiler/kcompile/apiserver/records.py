"""What the store keeps: an object at one version, and the change from one version to the next.

Both are immutable and hold JSON, so every reader may have them, and every watcher gets the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from .resources import Resource, values

__all__ = ["Event", "Stored", "stored"]


class Stored(NamedTuple):
    """An object at the version `version`. `text` is its JSON as in a list, without kind and apiVersion.

    `key`: ``NAMESPACE/NAME``, or ``NAME`` for a cluster-scoped kind; lists are in the order of keys.
    `fields`: what field selectors may name.
    """

    resource: Resource
    key: str
    namespace: str
    version: int
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    text: bytes

    @property
    def alone(self) -> bytes:
        """The object's JSON with kind and apiVersion."""
        return self.resource.head + self.text[1:]

    def object(self) -> dict[str, Any]:
        """The object as plain values, the caller's own."""
        found: dict[str, Any] = msgspec.json.decode(self.alone)
        return found

    def at(self, version: int) -> Stored:
        """The same object under another version."""
        obj = self.object()
        obj["metadata"]["resourceVersion"] = str(version)
        return stored(self.resource, obj, version)


def stored(resource: Resource, obj: Mapping[str, Any], version: int) -> Stored:
    """`obj`, whose metadata is complete, as the store keeps it."""
    plain = {"metadata": obj["metadata"], **obj}
    plain.pop("kind", None)
    plain.pop("apiVersion", None)
    meta = plain["metadata"]
    namespace = meta.get("namespace", "")
    key = f"{namespace}/{meta['name']}" if namespace else meta["name"]
    text = msgspec.json.encode(plain)
    labels = dict(meta.get("labels") or {})
    return Stored(resource, key, namespace, version, labels, values(resource, plain), text)


class Event:
    """One write: what was there before, and what is there now (None: nothing)."""

    __slots__ = ("_lines", "before", "now", "version")

    def __init__(self, version: int, before: Stored | None, now: Stored | None) -> None:
        self.version, self.before, self.now = version, before, now
        self._lines: dict[str, bytes] = {}

    def line(self, kind: str) -> bytes:
        """The event for watchers, encoded once for all. `kind`: ADDED, MODIFIED or DELETED.

        DELETED has the object as it was last seen, under the version of the deletion.
        """
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = event_line(kind, self._shown(kind))
        return line

    def _shown(self, kind: str) -> Stored:
        if kind != "DELETED" and self.now is not None:
            return self.now
        assert self.before is not None
        return self.before.at(self.version)


def event_line(kind: str, item: Stored) -> bytes:
    """One line of a watch's body."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), item.alone)
