"""Owners by metadata.ownerReferences: adoption and release (pkg/controller/controller_ref_manager.go)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ...apiserver.selectors import Matcher
from ..client import Client, Key, Obj
from .labels import matcher_of
from .writes import Update, Write

__all__ = [
    "adopters", "claim", "controller_of", "controller_uid", "dependents", "namespace_of", "orphans_in",
    "owner_keys", "owner_uids", "reference", "references", "with_references",
]  # fmt: skip


def reference(owner: Obj) -> dict[str, Any]:
    """The ownerReference of what `owner` controls (metav1.NewControllerRef)."""
    meta = owner["metadata"]
    about = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"]}
    return {**about, "uid": meta["uid"], "controller": True, "blockOwnerDeletion": True}


def references(obj: Obj) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj["metadata"].get("ownerReferences") or []
    return found


def controller_of(obj: Obj) -> dict[str, Any] | None:
    """The ownerReference of the object's controller; None for an orphan."""
    return next((each for each in references(obj) if each.get("controller")), None)


def controller_uid(obj: Obj) -> Iterable[str]:
    """An index: the uid of the object's controller."""
    found = controller_of(obj)
    return () if found is None else (found["uid"],)


def owner_uids(obj: Obj) -> Iterable[str]:
    """An index: the uids of all owners."""
    return [each["uid"] for each in references(obj)]


def orphans_in(obj: Obj) -> Iterable[str]:
    """An index: the namespace of an object that nobody controls."""
    return () if controller_of(obj) is not None else namespace_of(obj)


def namespace_of(obj: Obj) -> Iterable[str]:
    """An index: the namespace."""
    return (obj["metadata"].get("namespace", ""),)


def owner_keys(kind: str, *objects: Obj | None) -> list[Key]:
    """The keys of the objects of a kind that control any of these."""
    found: list[Key] = []
    for obj in objects:
        owner = None if obj is None else controller_of(obj)
        if obj is not None and owner is not None and owner["kind"] == kind:
            found.append((obj["metadata"].get("namespace", ""), owner["name"]))
    return found


def dependents(client: Client, kind: str, owner: Obj) -> list[Obj]:
    """What `claim` has to look at: what `owner` controls, and what nobody controls."""
    meta = owner["metadata"]
    owned = client.find(kind, controller_uid, meta["uid"])
    return owned + client.find(kind, orphans_in, meta["namespace"])


def adopters(client: Client, kind: str, orphan: Obj | None) -> list[Key]:
    """The keys of the objects of a kind whose selector matches an orphan."""
    if orphan is None or controller_of(orphan) is not None:
        return []
    labels = orphan["metadata"].get("labels") or {}
    found = []
    for each in client.find(kind, namespace_of, orphan["metadata"]["namespace"]):
        matcher = matcher_of(each["spec"].get("selector"))
        if matcher is not None and matcher.matches(labels):
            found.append((each["metadata"]["namespace"], each["metadata"]["name"]))
    return found


def claim(
    owner: Obj, matcher: Matcher, candidates: Iterable[Obj], adoptable: Callable[[Obj], bool]
) -> tuple[list[Obj], list[Write]]:
    """What `owner` controls, and the writes that adopt orphans which match and release what no longer does.

    What is adopted is already among the first; it carries the reference. An owner that is being deleted
    adopts nothing.
    """
    uid, going = owner["metadata"]["uid"], "deletionTimestamp" in owner["metadata"]
    owned: list[Obj] = []
    writes: list[Write] = []
    for obj in candidates:
        found = controller_of(obj)
        matches = matcher.matches(obj["metadata"].get("labels") or {})
        if found is not None and found["uid"] == uid:
            if matches or going:
                owned.append(obj)
            else:
                writes.append(Update(with_references(obj, [r for r in references(obj) if r["uid"] != uid])))
        elif found is None and matches and not going and adoptable(obj):
            adopted = with_references(obj, [*references(obj), reference(owner)])
            owned.append(adopted)
            writes.append(Update(adopted))
    return owned, writes


def with_references(obj: Obj, kept: list[dict[str, Any]]) -> Obj:
    """`obj` with these ownerReferences, or without any."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": meta | ({"ownerReferences": kept} if kept else {})}
