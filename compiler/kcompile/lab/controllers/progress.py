"""A Deployment's status: what `kubectl get`, `rollout status` and `wait --for=condition=Available` read.

pkg/controller/deployment/progress.go and sync.go (calculateStatus).
"""

from __future__ import annotations

from typing import Any

from ..client import Obj
from .pods import condition, seconds_of, stamp, with_condition
from .rollout import State
from .writes import Again, UpdateStatus, Write

__all__ = ["paused_condition", "status_writes"]

_FOREVER = 2**31 - 1  # a progressDeadlineSeconds that means none
_AVAILABLE = ("MinimumReplicasAvailable", "Deployment has minimum availability.")
_UNAVAILABLE = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")


def status_writes(state: State, now: float) -> list[Write]:
    """The new status where it differs, and a look back at the deadline of a rollout that is under way."""
    owner = state.owner
    before = owner.get("status") or {}
    status = _numbers(state)
    kept = [dict(each) for each in before.get("conditions") or ()]
    if not _has_deadline(owner):
        kept = [each for each in kept if each["type"] != "Progressing"]
    conditions = _set(kept, _availability(state), now)
    progressing = _progressing(state, before, status, now)
    if progressing is not None:
        conditions = _set(conditions, progressing, now)
    status["conditions"] = _with_failures(state, conditions)
    waiting = _deadline(owner, status, now)
    if status == before:
        return waiting
    return [UpdateStatus({**owner, "status": status}), *waiting]


def _numbers(state: State) -> dict[str, Any]:
    """calculateStatus, without conditions; a zero is left out as the server does."""
    total, available = state.total("replicas"), state.total("availableReplicas")
    updated = 0 if state.current is None else (state.current.get("status") or {}).get("replicas", 0)
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": state.total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(total - available, 0),
        "terminatingReplicas": state.total("terminatingReplicas"),
        "collisionCount": (state.owner.get("status") or {}).get("collisionCount", 0),
    }
    found: dict[str, Any] = {key: count for key, count in counts.items() if count}
    return found | {"observedGeneration": state.owner["metadata"].get("generation", 1)}


def _availability(state: State) -> dict[str, Any]:
    enough = state.total("availableReplicas") >= state.lowest
    reason, message = _AVAILABLE if enough else _UNAVAILABLE
    return {"type": "Available", "status": str(enough), "reason": reason, "message": message}


def _progressing(state: State, before: Obj, status: Obj, now: float) -> dict[str, Any] | None:
    """The condition Progressing after this step; None where it stays as it is (syncRolloutStatus)."""
    owner = state.owner
    if not _has_deadline(owner) or owner["spec"].get("paused"):
        return None
    current = condition(owner, "Progressing")
    if current is None and state.current is not None:
        about = f'Created new replica set "{state.current["metadata"]["name"]}"'
        return _progress("True", "NewReplicaSetCreated", about)
    done = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if current is not None and done and current["reason"] == "NewReplicaSetAvailable":
        return None
    subject = f'Deployment "{owner["metadata"]["name"]}"'
    if state.current is not None:
        subject = f'ReplicaSet "{state.current["metadata"]["name"]}"'
    if state.complete:
        return _progress("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.")
    if _has_progressed(before, status):
        return _progress("True", "ReplicaSetUpdated", f"{subject} is progressing.")
    if _overdue_in(owner, current, now) <= 0:
        return _progress("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing.")
    return None


def _progress(status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _has_progressed(before: Obj, now: Obj) -> bool:
    """DeploymentProgressing: more new, ready or available Pods, or fewer old ones."""

    def old(status: Obj) -> int:
        left: int = status.get("replicas", 0) - status.get("updatedReplicas", 0)
        return left

    more = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old(now) < old(before) or any(now.get(key, 0) > before.get(key, 0) for key in more)


def _has_deadline(owner: Obj) -> bool:
    return bool(owner["spec"].get("progressDeadlineSeconds", 600) != _FOREVER)


def _overdue_in(owner: Obj, current: dict[str, Any] | None, now: float) -> float:
    """Seconds until a rollout without progress counts as failed."""
    if current is None or current["reason"] in ("NewReplicaSetAvailable", "DeploymentPaused"):
        return float("inf")
    since = seconds_of(current.get("lastUpdateTime"))
    seconds: float = since + owner["spec"].get("progressDeadlineSeconds", 600) - now
    return seconds


def _deadline(owner: Obj, status: Obj, now: float) -> list[Write]:
    current = condition({"status": status}, "Progressing")
    seconds = _overdue_in(owner, current, now)
    if current is None or current["status"] == "False" or seconds == float("inf"):
        return []
    return [Again(max(seconds, 0) + 1)]


def _with_failures(state: State, conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the condition ReplicaFailure of a ReplicaSet that has it."""
    kept = [each for each in conditions if each["type"] != "ReplicaFailure"]
    for each in reversed(state.all):
        if (failure := condition(each, "ReplicaFailure")) is not None:
            return [*kept, failure | {"lastUpdateTime": failure["lastTransitionTime"]}]
    return kept


def _set(conditions: list[dict[str, Any]], new: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """With `new` and its times. One with the same status and reason stays (SetDeploymentCondition)."""
    before = next((each for each in conditions if each["type"] == new["type"]), None)
    progress = new["reason"] == "ReplicaSetUpdated"
    if (
        before is not None
        and not progress
        and (before["status"], before["reason"]) == (new["status"], new["reason"])
    ):
        return conditions
    since = stamp(now)
    kept = before is not None and before["status"] == new["status"]
    made = new | {
        "lastUpdateTime": since,
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and kept else since,
    }
    return with_condition(conditions, made)


def paused_condition(owner: Obj, now: float) -> Obj | None:
    """`owner` with the condition that says whether it is paused; None where it is right already.

    checkPausedConditions of the real controller.
    """
    if not _has_deadline(owner):
        return None
    current = condition(owner, "Progressing")
    reason = "" if current is None else current["reason"]
    paused = bool(owner["spec"].get("paused"))
    if reason == "ProgressDeadlineExceeded" or paused == (reason == "DeploymentPaused"):
        return None
    word = "paused" if paused else "resumed"
    new = {
        "type": "Progressing",
        "status": "Unknown",
        "reason": f"Deployment{word.title()}",
        "message": f"Deployment is {word}",
    }
    status = owner.get("status") or {}
    conditions = _set([dict(each) for each in status.get("conditions") or ()], new, now)
    return {**owner, "status": {**status, "conditions": conditions}}
