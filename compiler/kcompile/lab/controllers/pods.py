"""What controllers ask of a Pod, and how they make one.

pkg/api/v1/pod/util.go and pkg/controller/controller_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ..client import Obj
from .owners import reference

__all__ = [
    "available_in", "condition", "is_active", "is_ended", "is_ready", "is_terminating", "node_name",
    "pod_from", "seconds_of", "stamp", "with_condition",
]  # fmt: skip


def stamp(now: float) -> str:
    """metav1.Time of a time in seconds."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str | None) -> float:
    """The time in seconds of a metav1.Time; 0 where there is none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def condition(obj: Mapping[str, Any], kind: str) -> dict[str, Any] | None:
    """The condition of this type in an object's status."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((each for each in found if each["type"] == kind), None)


def with_condition(conditions: Iterable[Mapping[str, Any]], new: Mapping[str, Any]) -> list[Any]:
    """`conditions` with `new`, which replaces the condition of its type or is appended."""
    found = [new if each["type"] == new["type"] else each for each in conditions]
    return found if new in found else [*found, new]


def is_ready(pod: Obj) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def is_terminating(obj: Obj) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def is_ended(pod: Obj) -> bool:
    """True if none of its containers runs or will run again."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    return not is_ended(pod) and not is_terminating(pod)


def available_in(pod: Obj, min_ready_seconds: float, now: float) -> float | None:
    """Seconds until the Pod has been ready for long enough; 0 or less if it has, None if it isn't ready."""
    if not is_ready(pod):
        return None
    if not min_ready_seconds:
        return 0.0
    since = seconds_of((condition(pod, "Ready") or {}).get("lastTransitionTime"))
    return since + min_ready_seconds - now


def node_name(pod: Obj) -> Iterable[str]:
    """An index: the node that the Pod is bound to, empty if none."""
    return (pod["spec"].get("nodeName") or "",)


def pod_from(template: Mapping[str, Any], owner: Obj, *, name: str = "") -> Obj:
    """A Pod by a template, controlled by `owner`. Without a `name` the server makes one after the owner's."""
    given = template.get("metadata") or {}
    own = owner["metadata"]
    meta: dict[str, Any] = {key: given[key] for key in ("annotations", "finalizers") if given.get(key)}
    meta["labels"] = dict(given.get("labels") or {})
    meta |= {"name": name} if name else {"generateName": f"{own['name']}-"}
    meta |= {"namespace": own["namespace"], "ownerReferences": [reference(owner)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": dict(template["spec"])}
