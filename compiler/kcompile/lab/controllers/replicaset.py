"""ReplicaSets: as many Pods of a template as wanted (pkg/controller/replicaset/replica_set.go)."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client import Client, Key, Obj
from .labels import matcher_of
from .owners import adopters, claim, controller_uid, dependents, owner_keys
from .pods import available_in, condition, is_active, is_ended, is_ready, is_terminating, pod_from, seconds_of
from .writes import Again, Create, Delete, Tell, UpdateStatus, Write

__all__ = ["ReplicaSets", "decide", "deletion_order", "status_of"]

_BURST = 500  # Pods made or deleted in one step
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


class ReplicaSets:
    name = "replicaset-controller"
    kinds = ("ReplicaSet", "Pod")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "ReplicaSet":
            meta = (new or old or {})["metadata"]
            return [(meta["namespace"], meta["name"])]
        return owner_keys("ReplicaSet", old, new) or adopters(self._client, "ReplicaSet", new)

    def decide(self, key: Key) -> list[Write]:
        owner = self._client.get("ReplicaSet", *key)
        if owner is None:
            return []
        pods = dependents(self._client, "Pod", owner)
        return decide(owner, pods, self._related(owner), time.time())

    def _related(self, owner: Obj) -> Counter[str]:
        """How many active Pods of the same Deployment each node has (getPodsToDelete's related Pods)."""
        family = [owner]
        for uid in controller_uid(owner):
            family = self._client.find("ReplicaSet", controller_uid, uid)
        nodes: Counter[str] = Counter()
        for each in family:
            pods = self._client.find("Pod", controller_uid, each["metadata"]["uid"])
            nodes.update(pod["spec"].get("nodeName", "") for pod in pods if is_active(pod))
        return nodes


def decide(owner: Obj, pods: Iterable[Obj], related: Mapping[str, int], now: float) -> list[Write]:
    """What makes `owner`, a ReplicaSet, have its Pods. `pods`: its own, and orphans.

    `related`: how many Pods of the same Deployment each node has.
    """
    matcher = matcher_of(owner["spec"]["selector"])
    if matcher is None:
        return []
    alive = [pod for pod in pods if not is_ended(pod)]
    owned, writes = claim(owner, matcher, alive, is_active)
    active = [pod for pod in owned if not is_terminating(pod)]
    if not is_terminating(owner):
        writes += _manage(owner, active, related, now)
    status = status_of(owner, owned, now)
    if status != owner.get("status"):
        writes.append(UpdateStatus({**owner, "status": status}))
    return writes + _waiting(active, owner["spec"].get("minReadySeconds", 0), now)


def _manage(owner: Obj, active: Sequence[Obj], related: Mapping[str, int], now: float) -> list[Write]:
    """Pods made or deleted, each with its Event."""
    writes: list[Write] = []
    missing = _replicas(owner) - len(active)
    if missing > 0:
        pod = pod_from(owner["spec"]["template"], owner)
        return [Create(pod, owner, "Created pod: {name}") for _ in range(min(missing, _BURST))]
    if not missing:
        return []
    for pod in deletion_order(active, related, now)[: min(-missing, _BURST)]:
        name = pod["metadata"]["name"]
        writes += [Delete(pod), Tell(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")]
    return writes


def _waiting(active: Iterable[Obj], min_ready_seconds: float, now: float) -> list[Write]:
    """When the next Pod that is ready will have been so for long enough."""
    left = [available_in(pod, min_ready_seconds, now) for pod in active]
    soon = [seconds for seconds in left if seconds is not None and seconds > 0]
    return [Again(min(soon) + 0.05)] if soon else []


def _replicas(owner: Obj) -> int:
    found: int = owner["spec"].get("replicas", 1)
    return found


def status_of(owner: Obj, owned: Iterable[Obj], now: float) -> dict[str, Any]:
    """calculateStatus, from the Pods that it owns and that haven't ended."""
    wanted = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    waits = owner["spec"].get("minReadySeconds", 0)
    counts: Counter[str] = Counter()
    for pod in owned:
        if is_terminating(pod):
            counts["terminatingReplicas"] += 1
            continue
        counts["replicas"] += 1
        counts["fullyLabeledReplicas"] += wanted.items() <= (pod["metadata"].get("labels") or {}).items()
        counts["readyReplicas"] += is_ready(pod)
        left = available_in(pod, waits, now)
        counts["availableReplicas"] += left is not None and left <= 0
    status: dict[str, Any] = {"replicas": counts["replicas"]}
    status |= {key: count for key, count in counts.items() if count}
    if conditions := (owner.get("status") or {}).get("conditions"):
        status["conditions"] = conditions
    return {**status, "observedGeneration": owner["metadata"].get("generation", 1)}


def deletion_order(pods: Iterable[Obj], related: Mapping[str, int], now: float) -> list[Obj]:
    """The Pods in the order in which a scale-down deletes them (controller.ActivePodsWithRanks)."""
    return sorted(pods, key=lambda pod: _rank(pod, related, now))


def _rank(pod: Obj, related: Mapping[str, int], now: float) -> tuple[Any, ...]:
    status, node = pod.get("status") or {}, pod["spec"].get("nodeName", "")
    ready = is_ready(pod)
    since = seconds_of((condition(pod, "Ready") or {}).get("lastTransitionTime")) if ready else now
    restarts = [each.get("restartCount", 0) for each in status.get("containerStatuses") or ()]
    created = seconds_of(pod["metadata"]["creationTimestamp"])
    return (
        bool(node),
        _PHASES.get(status.get("phase", "Pending"), 0),
        ready,
        int(
            (pod["metadata"].get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost") or 0
        ),
        -related.get(node, 0),
        _age(now - since),
        -max(restarts, default=0),
        _age(now - created),
        pod["metadata"]["uid"],
    )


def _age(seconds: float) -> int:
    """Ages on a logarithmic scale, so that about equal ones are left to chance (LogarithmicScaleDown)."""
    return int(math.log2(seconds)) if seconds >= 1 else 0
