"""The metadata that the server sets: uid, times, generation, resourceVersion; and a write's preconditions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from .deletion import now
from .records import Stored
from .resources import Resource
from .status import conflict

__all__ = ["SERVERS_OWN", "beginning", "check_preconditions", "succeeding"]

SERVERS_OWN = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
)
"""Metadata that the server alone sets, or doesn't have: a client's is ignored."""

_LASTING = ("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")
_CHANGED = "the object has been modified; please apply your changes to the latest version and try again"


def beginning(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """`obj` as a new object; a uid, a time and a generation that it has are kept."""
    given = dict(obj.get("metadata") or {})
    meta: dict[str, Any] = {"name": given.get("name", "")}
    if resource.namespaced:
        meta["namespace"] = given.get("namespace") or "default"
    else:
        given.pop("namespace", None)
    meta["uid"] = given.get("uid") or str(uuid.uuid4())
    meta["resourceVersion"] = ""
    if resource.generation:
        meta["generation"] = given.get("generation") or 1
    meta["creationTimestamp"] = given.get("creationTimestamp") or now()
    return {**obj, "metadata": meta | {key: value for key, value in given.items() if key not in meta}}


def succeeding(resource: Resource, old: dict[str, Any], obj: Mapping[str, Any]) -> dict[str, Any]:
    """`obj` as the next version of `old`; equal to `old` where nothing has changed."""
    was, given = old["metadata"], obj.get("metadata") or {}
    meta = {key: was[key] for key in _LASTING if key in was}
    meta |= {key: value for key, value in given.items() if key not in meta}
    new = {**obj, "metadata": meta}
    if any(_part(new, part) != _part(old, part) for part in resource.generation):
        meta["generation"] = was.get("generation", 0) + 1
    return new


def _part(obj: Mapping[str, Any], part: str) -> Any:
    return obj["metadata"].get(part) if part in ("labels", "annotations") else obj.get(part)


def check_preconditions(item: Stored, wanted: Mapping[str, Any]) -> None:
    """Raise StatusError 409 where `wanted` names another resourceVersion or uid than `item` has."""
    name = item.key.rpartition("/")[2]
    if wanted.get("resourceVersion") not in (None, "", "0", str(item.version)):
        raise conflict(item.resource, name, _CHANGED)
    if uid := wanted.get("uid"):
        found = item.object()["metadata"].get("uid", "")
        if uid != found:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
            raise conflict(item.resource, name, why)
