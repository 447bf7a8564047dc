"""The garbage collector: what is owned goes with its owners (pkg/controller/garbagecollector).

Background: after the owner. Foreground: before it; the owner's finalizer foregroundDeletion holds it until
then. Orphan: the finalizer orphan holds the owner until nothing refers to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..client import Client, Key, Obj
from .kinds import CLUSTER_SCOPED, NAMESPACED
from .owners import owner_uids, references, with_references
from .pods import is_terminating
from .writes import Delete, Update, Write

__all__ = ["GarbageCollector", "collected", "foreground", "orphaned"]

_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


class GarbageCollector:
    """A key's first part is ``KIND/NAMESPACE``."""

    name = "garbage-collector-controller"
    kinds = (*NAMESPACED, *CLUSTER_SCOPED)

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, _kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        keys: list[Key] = []
        before = [] if old is None else references(old)
        now = [] if new is None else references(new)
        if old is not None and before != now:
            keys += self._owner_keys(old)
        if new is None and old is not None:
            keys += [_key(each) for each in self._dependents(old)]
        if new is not None and (now != before or _holds(new, _FOREGROUND) or _holds(new, _ORPHAN)):
            keys.append(_key(new))
        return keys

    def _owner_keys(self, obj: Obj) -> list[Key]:
        """Of the owners that wait for their dependents."""
        owners = [self._owner(obj, reference) for reference in references(obj)]
        return [_key(each) for each in owners if each is not None and _holds(each, _FOREGROUND)]

    def _owner(self, obj: Obj, reference: Mapping[str, Any]) -> Obj | None:
        kind = reference["kind"]
        namespace = "" if kind in CLUSTER_SCOPED else obj["metadata"].get("namespace", "")
        found = self._client.get(kind, namespace, reference["name"]) if kind in self.kinds else None
        return found if found is not None and found["metadata"]["uid"] == reference["uid"] else None

    def _dependents(self, owner: Obj) -> list[Obj]:
        uid = owner["metadata"]["uid"]
        return [obj for kind in NAMESPACED for obj in self._client.find(kind, owner_uids, uid)]

    def _is_absent(self, obj: Obj, reference: Mapping[str, Any]) -> bool:
        """A kind that isn't served may exist elsewhere."""
        return reference["kind"] in self.kinds and self._owner(obj, reference) is None

    def decide(self, key: Key) -> list[Write]:
        kind, _, namespace = key[0].partition("/")
        obj = self._client.get(kind, namespace, key[1])
        if obj is None:
            return []
        if _holds(obj, _ORPHAN):
            return orphaned(obj, self._dependents(obj))
        if _holds(obj, _FOREGROUND):
            return foreground(obj, self._dependents(obj))
        return collected(obj, self._is_absent)


def _key(obj: Obj) -> Key:
    meta = obj["metadata"]
    return f"{obj['kind']}/{meta.get('namespace', '')}", meta["name"]


def _holds(obj: Obj, finalizer: str) -> bool:
    return is_terminating(obj) and finalizer in (obj["metadata"].get("finalizers") or ())


def _without(obj: Obj, finalizer: str) -> Write:
    meta = obj["metadata"]
    left = [each for each in meta["finalizers"] if each != finalizer]
    return Update({**obj, "metadata": {**meta, "finalizers": left}})


def _without_owner(obj: Obj, gone: Callable[[Mapping[str, Any]], bool]) -> Write:
    left = [each for each in references(obj) if not gone(each)]
    return Update(with_references(obj, left))


def orphaned(owner: Obj, dependents: Iterable[Obj]) -> list[Write]:
    """The dependents forget `owner`, which then goes (orphanDependents)."""
    uid = owner["metadata"]["uid"]
    released = [_without_owner(each, lambda reference: reference["uid"] == uid) for each in dependents]
    return [*released, _without(owner, _ORPHAN)]


def foreground(owner: Obj, dependents: Iterable[Obj]) -> list[Write]:
    """The dependents go, and after those that block it, `owner` (processDeletingDependentsItem)."""
    uid = owner["metadata"]["uid"]
    writes: list[Write] = []
    blocked = False
    for each in dependents:
        own = [reference for reference in references(each) if reference["uid"] == uid]
        blocked = blocked or any(reference.get("blockOwnerDeletion") for reference in own)
        if not is_terminating(each):
            writes.append(Delete(each, propagation="Foreground"))
    return writes if blocked else [*writes, _without(owner, _FOREGROUND)]


def collected(obj: Obj, is_absent: Callable[[Obj, Mapping[str, Any]], bool]) -> list[Write]:
    """`obj` goes when all its owners are gone; else it forgets those that are (attemptToDeleteItem)."""
    owners = references(obj)
    absent = [each for each in owners if is_absent(obj, each)]
    if not absent or is_terminating(obj):
        return []
    if len(absent) == len(owners):
        return [Delete(obj, propagation="Background")]
    return [_without_owner(obj, lambda reference: reference in absent)]
