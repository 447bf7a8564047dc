"""The API as what runs in the lab's process sees it: the objects decoded and current, changes as calls, and
writes straight into the store.

The real components read from informers, which lag behind, and wait for their own writes to come back
(client-go's expectations). Here a write can be read at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..apiserver import Store
from ..apiserver.collection import Collection
from ..apiserver.resources import RESOURCES, Resource
from .events import Recorder

__all__ = ["Changed", "Client", "Key", "Obj"]

Obj = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name; the namespace of a cluster-scoped object is empty."""
Changed = Callable[[str, "Obj | None", "Obj | None"], None]
"""Called with a kind, what was there before, and what is there now."""
_Index = dict[str, dict[Key, None]]
"""The keys of the objects that have a value, in the order in which they came."""

_log = logging.getLogger(__name__)


class Client:
    """For one event loop; make it, and call its methods, in the loop's thread."""

    def __init__(self, store: Store) -> None:
        self.store, self._loop = store, asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._caches: dict[str, _Cache] = {}
        self._kinds: dict[Resource, str] = {}
        self._watchers: list[_Watcher] = []
        self._flushing = False
        self._recorder = Recorder(self)
        store.listen(self._written)

    def close(self) -> None:
        """End all watches."""
        self.store.unlisten(self._written)
        self._watchers.clear()

    # --- reading ---

    def objects(self, kind: str) -> Mapping[Key, Obj]:
        """All objects of a kind as they are now. They are shared: change a copy, never one of these.

        The mapping itself changes with the store, so take a `list` of it to write in a loop over it.

        :raises LookupError: where the kind isn't served
        """
        return self._cache(kind).objects

    def get(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, shared as in `objects`; None where there is none."""
        return self.objects(kind).get((namespace, name))

    def find(self, kind: str, by: Callable[[Obj], Iterable[str]], value: str) -> list[Obj]:
        """The objects of which `by` returns `value` among others, by an index that is kept from then on.

        `by`: a function of a module, of the object alone.
        """
        return self._cache(kind).find(by, value)

    def count(self, kind: str, by: Callable[[Obj], Iterable[str]], value: str) -> int:
        """How many `find` returns."""
        return len(self._cache(kind).index(by).get(value, ()))

    def watch(self, kinds: Iterable[str], changed: Changed) -> Callable[[], None]:
        """Call `changed` in the loop for each object that is there, and from then on for each change.

        The calls are in the order of the writes of one kind. What `changed` raises is logged. Returns a
        function that ends the watch.
        """
        watcher = _Watcher(frozenset(kinds), changed)
        for kind in sorted(watcher.kinds):
            watcher.queue += [(kind, None, obj) for obj in list(self.objects(kind).values())]
        self._watchers.append(watcher)
        self._flush_soon()
        return lambda: self._stop(watcher)

    # --- writing: what each raises is a StatusError, as the server's answer would be ---

    def create(self, obj: Mapping[str, Any]) -> Obj:
        return self.store.create(obj)

    def update(self, obj: Mapping[str, Any]) -> Obj:
        """Replace an object, except for its status."""
        return self.store.update(obj)

    def update_status(self, obj: Mapping[str, Any]) -> Obj:
        """Replace the status of an object, and nothing else."""
        return self.store.update_status(obj)

    def bind(self, namespace: str, pod: str, node: str) -> Obj:
        """Give a Pod to a node."""
        return self.store.bind(namespace, pod, node)

    def delete(
        self,
        kind: str,
        namespace: str,
        name: str,
        grace: int | None = None,
        *,
        propagation: str | None = None,
    ) -> Obj:
        """Delete an object. `grace`: seconds for a Pod, 0 as the kubelet's last word.

        `propagation`: Background, Foreground or Orphan.
        """
        return self.store.delete(kind, namespace, name, grace=grace, propagation=propagation)

    def event(
        self, regarding: Mapping[str, Any], kind: str, reason: str, message: str, *, source: str = "kubelet"
    ) -> None:
        """Tell users what happened to an object, as an Event. `kind`: Normal or Warning.

        The same again counts the one that is there up; the oldest of very many go.
        """
        self._recorder.record(regarding, kind, reason, message, source)

    # --- inside ---

    def _cache(self, kind: str) -> _Cache:
        cache = self._caches.get(kind)
        if cache is None:
            resource = _resource(kind)
            cache = self._caches[kind] = _Cache(self.store, self.store.collection(resource))
            self._kinds[resource] = kind
        for old, new in cache.catch_up():
            for watcher in self._watchers:
                if kind in watcher.kinds:
                    watcher.queue.append((kind, old, new))
        return cache

    def _written(self, resource: Resource) -> None:
        """The store's listener: in the thread of the writer, which may be another."""
        if resource in self._kinds:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing:
            return
        self._flushing = True
        if threading.get_ident() == self._thread:
            self._loop.call_soon(self._flush)
        else:
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        for kind in list(self._caches):
            self._cache(kind)
        for watcher in list(self._watchers):
            watcher.flush()

    def _stop(self, watcher: _Watcher) -> None:
        watcher.queue.clear()
        if watcher in self._watchers:
            self._watchers.remove(watcher)


class _Watcher:
    """Who watches, and what it hasn't heard yet."""

    def __init__(self, kinds: frozenset[str], changed: Changed) -> None:
        self.kinds, self._changed = kinds, changed
        self.queue: deque[tuple[str, Obj | None, Obj | None]] = deque()

    def flush(self) -> None:
        while self.queue:
            kind, old, new = self.queue.popleft()
            try:
                self._changed(kind, old, new)
            except Exception:
                _log.exception("a watcher of %s failed", kind)


class _Cache:
    """The objects of one kind, decoded."""

    def __init__(self, store: Store, collection: Collection) -> None:
        self._store, self._collection = store, collection
        self._place = -1
        self.objects: dict[Key, Obj] = {}
        self._indices: dict[Callable[[Obj], Iterable[str]], _Index] = {}

    def find(self, by: Callable[[Obj], Iterable[str]], value: str) -> list[Obj]:
        return [self.objects[key] for key in self.index(by).get(value, ())]

    def index(self, by: Callable[[Obj], Iterable[str]]) -> _Index:
        index = self._indices.get(by)
        if index is None:
            index = self._indices[by] = {}
            for key, obj in self.objects.items():
                _enter(index, by, key, obj)
        return index

    def catch_up(self) -> list[tuple[Obj | None, Obj | None]]:
        """Take in what has been written since the last call; returns each change, what was and what is."""
        collection = self._collection
        if self._place == collection.dropped + len(collection.history):
            return []
        with self._store.lock:
            events = collection.since(self._place) if self._place >= 0 else None
            self._place = collection.dropped + len(collection.history)
            if events is None:
                return self._read_all()
        changes = []
        for event in events:
            item = event.now or event.before
            assert item is not None
            key = item.namespace, item.key.rpartition("/")[2]
            new = None if event.now is None else event.now.object()
            changes.append((self._replace(key, new), new))
        return changes

    def _read_all(self) -> list[tuple[Obj | None, Obj | None]]:
        """As `catch_up` where some changes are forgotten: from one whole list to the next."""
        now = {(item.namespace, item.key.rpartition("/")[2]): item for item in self._collection.sorted_now()}
        changes: list[tuple[Obj | None, Obj | None]] = []
        gone = [key for key in self.objects if key not in now]
        changes += [(self._replace(key, None), None) for key in gone]
        for key, item in now.items():
            old = self.objects.get(key)
            if old is None or old["metadata"]["resourceVersion"] != str(item.version):
                new = item.object()
                changes.append((self._replace(key, new), new))
        return changes

    def _replace(self, key: Key, new: Obj | None) -> Obj | None:
        """Keep `new` under `key`; returns what was there."""
        old = self.objects.pop(key, None) if new is None else self.objects.get(key)
        if new is not None:
            self.objects[key] = new
        for by, index in self._indices.items():
            if old is not None:
                _leave(index, by, key, old)
            if new is not None:
                _enter(index, by, key, new)
        return old


def _enter(index: _Index, by: Callable[[Obj], Iterable[str]], key: Key, obj: Obj) -> None:
    for value in by(obj):
        index.setdefault(value, {})[key] = None


def _leave(index: _Index, by: Callable[[Obj], Iterable[str]], key: Key, obj: Obj) -> None:
    for value in by(obj):
        keys = index.get(value, {})
        keys.pop(key, None)
        if not keys:
            index.pop(value, None)


def _resource(kind: str) -> Resource:
    """The resource of a kind.

    :raises LookupError: where it isn't served
    """
    for resource in RESOURCES:
        if resource.kind == kind:
            return resource
    raise LookupError(f"the lab's API server has no kind {kind}")
