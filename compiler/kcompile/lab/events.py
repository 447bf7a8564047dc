"""Events: what `kubectl get events` and `kubectl describe` show of an object's life.

As client-go's tools/record: the same event again counts the first one up. A lab keeps the newest ones only;
a real API server forgets them after an hour.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..apiserver import StatusError

if TYPE_CHECKING:
    from .client import Client

__all__ = ["Recorder"]

_KEPT = 1000  # events of a lab
_log = logging.getLogger(__name__)


class Recorder:
    """Writes Events through a client, the newest `_KEPT`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, ...], tuple[str, str]] = {}
        self._numbers = itertools.count(time.time_ns())

    def record(self, regarding: Mapping[str, Any], kind: str, reason: str, message: str, source: str) -> None:
        """Write an Event; never raises, since nobody depends on one."""
        meta = regarding["metadata"]
        same = (regarding.get("kind", ""), meta.get("uid", ""), kind, reason, message, source)
        try:
            place = self._known.pop(same, None)
            stored = None if place is None else self._client.get("Event", *place)
            if stored is None:
                stored = self._new(regarding, kind, reason, message, source)
                if self._client.get("Namespace", "", stored["metadata"]["namespace"]) is None:
                    return
                self._client.store.put(stored)  # nothing to check or to default
            else:
                count = stored.get("count", 1) + 1
                self._client.update({**stored, "count": count, "lastTimestamp": _now()})
        except (StatusError, LookupError) as error:
            _log.debug("no event %s for %s: %s", reason, meta.get("name"), error)
            return
        self._known[same] = stored["metadata"]["namespace"], stored["metadata"]["name"]
        if len(self._known) > _KEPT:
            self._drop(self._known.pop(next(iter(self._known))))

    def _new(
        self, regarding: Mapping[str, Any], kind: str, reason: str, message: str, source: str
    ) -> dict[str, Any]:
        meta, now = regarding["metadata"], _now()
        about = {"kind": regarding["kind"], "apiVersion": regarding["apiVersion"]}
        fields = ("namespace", "name", "uid", "resourceVersion")
        about |= {field: meta[field] for field in fields if meta.get(field)}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{next(self._numbers):x}",
                "namespace": meta.get("namespace") or "default",
            },
            "involvedObject": about,
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": source},
            "reportingComponent": source,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }

    def _drop(self, place: tuple[str, str]) -> None:
        try:
            self._client.delete("Event", *place)
        except StatusError:
            _log.debug("the event %s/%s is gone already", *place)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
