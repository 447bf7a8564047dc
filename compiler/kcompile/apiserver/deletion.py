"""What a deletion makes of an object: gone at once, or marked and left to a kubelet or a controller.

rest.BeforeDelete and registry.Store.Delete of k8s.io/apiserver; pods: pkg/registry/core/pod/strategy.go.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .resources import Resource
from .status import Cause, StatusError, conflict, invalid

__all__ = ["marked", "now", "over"]

_TERMINATED = ("Succeeded", "Failed")
_DEFAULT_GRACE = 30  # seconds, where a pod doesn't say
_COLLECTORS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
"""The finalizer that asks the garbage collector for a propagation policy."""
_POLICIES = ("Background", "Foreground", "Orphan")
_ORPHANING = ("batch", "Job")  # its dependents are orphaned unless a client says otherwise
_PURGING = (
    "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace "
    "will automatically be purged by the system."
)


def now(later: float = 0) -> str:
    """The time, or that of `later` seconds on, as the API writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + later))


def over(obj: Mapping[str, Any]) -> bool:
    """True if the object is being deleted, its time is over, and nothing holds it any more."""
    meta = obj["metadata"]
    held = meta.get("finalizers") or (obj.get("spec") or {}).get("finalizers")
    return meta.get("deletionGracePeriodSeconds") == 0 and not held


def marked(
    resource: Resource, obj: dict[str, Any], grace: int | None, propagation: str | None, *, controllers: bool
) -> dict[str, Any]:
    """`obj` as a deletion leaves it; `over` says whether it then goes.

    `controllers`: there are a collector and a namespace controller; without them their finalizers would hold
    an object for ever, so they aren't set.

    :raises StatusError: 409 for a Namespace that is being deleted already, 422 for an unknown policy
    """
    meta = dict(obj["metadata"])
    obj = {**obj, "metadata": meta}
    if propagation is not None and propagation not in _POLICIES:
        raise _unknown_policy(propagation)
    if controllers:
        _hold(resource, meta, propagation)
    if resource.kind == "Namespace":
        return _terminating(resource, obj, controllers=controllers)
    wanted = _grace(resource, obj, grace)
    left = meta.get("deletionGracePeriodSeconds")
    if left is not None:
        if grace is None or wanted >= left:
            return obj
    elif meta.get("generation"):
        meta["generation"] += 1
    meta["deletionTimestamp"] = now(wanted)
    meta["deletionGracePeriodSeconds"] = wanted
    return obj


def _hold(resource: Resource, meta: dict[str, Any], propagation: str | None) -> None:
    """Set the finalizer that the propagation policy wants."""
    found = [each for each in meta.get("finalizers") or () if each not in _COLLECTORS.values()]
    default = "Orphan" if (resource.group, resource.kind) == _ORPHANING else "Background"
    if propagation is None and "deletionTimestamp" in meta:
        return
    if (wanted := _COLLECTORS.get(propagation or default)) is not None:
        found.append(wanted)
    meta["finalizers"] = found
    if not found:
        del meta["finalizers"]


def _terminating(resource: Resource, obj: dict[str, Any], *, controllers: bool) -> dict[str, Any]:
    meta = obj["metadata"]
    if not controllers:
        meta |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
        return {**obj, "spec": {}}
    if "deletionTimestamp" in meta and (obj.get("spec") or {}).get("finalizers"):
        raise conflict(resource, meta["name"], _PURGING)
    meta["deletionTimestamp"] = now()
    return {**obj, "status": {**(obj.get("status") or {}), "phase": "Terminating"}}


def _grace(resource: Resource, obj: Mapping[str, Any], asked: int | None) -> int:
    """Seconds that the object gets: only a Pod that was given to a node, and hasn't ended, gets any."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if resource.kind != "Pod" or not spec.get("nodeName") or status.get("phase") in _TERMINATED:
        return 0
    own: int | None = spec.get("terminationGracePeriodSeconds")
    seconds = asked if asked is not None else _DEFAULT_GRACE if own is None else own
    return 1 if seconds < 0 else seconds


def _unknown_policy(name: str) -> StatusError:
    said = ", ".join(f'"{each}"' for each in (*_POLICIES, "nil"))
    message = f'Invalid value: "{name}": Invalid value: must be one of {said}'
    return invalid("DeleteOptions", "", [Cause("FieldValueInvalid", message, "propagationPolicy")])
