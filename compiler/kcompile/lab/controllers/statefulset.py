"""StatefulSets: Pods with names that stay, in order (pkg/controller/statefulset/stateful_set_control.go)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client import Client, Key, Obj
from .history import latest, revision_of, revisions, surplus_revisions
from .labels import matcher_of
from .numbers import scaled
from .ordinals import identified, ordinal_of
from .owners import adopters, claim, dependents, owner_keys
from .pods import available_in, is_ended, is_ready, is_terminating
from .writes import Again, Create, Delete, Tell, UpdateStatus, Write

__all__ = ["Plan", "StatefulSets", "steps"]


class StatefulSets:
    name = "statefulset-controller"
    kinds = ("StatefulSet", "Pod", "ControllerRevision")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "StatefulSet":
            meta = (new or old or {})["metadata"]
            return [(meta["namespace"], meta["name"])]
        keys = owner_keys("StatefulSet", old, new)
        return keys or (adopters(self._client, "StatefulSet", new) if kind == "Pod" else [])

    def decide(self, key: Key) -> list[Write]:
        owner = self._client.get("StatefulSet", *key)
        matcher = None if owner is None else matcher_of(owner["spec"]["selector"])
        if owner is None or matcher is None or is_terminating(owner):
            return []
        known = revisions(self._client, owner)
        update, writes = latest(owner, known)
        if update is None:
            return writes
        name = owner["metadata"]["name"]
        candidates = dependents(self._client, "Pod", owner)
        pods, writes = claim(owner, matcher, candidates, lambda pod: ordinal_of(pod, name) is not None)
        if writes:
            return writes
        before = owner.get("status") or {}
        current = next(
            (each for each in known if each["metadata"]["name"] == before.get("currentRevision")), update
        )
        plan = Plan(owner, pods, current, update, time.time())
        return [*steps(plan), *_finished(plan, known)]


class Plan:
    """A StatefulSet, its Pods by ordinal, and its revisions: the one that it comes from, and the newest."""

    def __init__(self, owner: Obj, pods: Iterable[Obj], current: Obj, update: Obj, now: float) -> None:
        self.owner, self.current, self.update, self.now = owner, current, update, now
        spec = owner["spec"]
        self.start: int = (spec.get("ordinals") or {}).get("start", 0)
        self.wanted = range(self.start, self.start + spec.get("replicas", 1))
        self.ordered: bool = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        strategy = spec.get("updateStrategy") or {}
        self.on_delete: bool = strategy.get("type") == "OnDelete"
        self.rolling: Mapping[str, Any] = strategy.get("rollingUpdate") or {}
        name = owner["metadata"]["name"]
        numbered = ((ordinal_of(pod, name), pod) for pod in pods)
        self.pods: dict[int, Obj] = {number: pod for number, pod in numbered if number is not None}

    @property
    def partition(self) -> int:
        found: int = self.rolling.get("partition", 0)
        return found

    def is_available(self, pod: Obj) -> bool:
        left = available_in(pod, self.owner["spec"].get("minReadySeconds", 0), self.now)
        return left is not None and left <= 0

    def is_healthy(self, pod: Obj | None) -> bool:
        return pod is not None and not is_terminating(pod) and self.is_available(pod)

    def revision_for(self, ordinal: int) -> Obj:
        """The revision that a new Pod gets (newVersionedStatefulSetPod)."""
        if self.on_delete:
            return self.update
        stays = self.partition
        if not self.rolling:
            stays = (self.owner.get("status") or {}).get("currentReplicas", 0)
        return self.current if ordinal < self.start + stays else self.update


def steps(plan: Plan) -> list[Write]:
    """The next Pods to make, to delete or to replace (performUpdate)."""
    writes, waits = _grown(plan)
    if waits:
        return writes
    shrunk, waits = _shrunk(plan)
    writes += shrunk
    if waits or plan.on_delete:
        return writes
    return writes + _updated(plan)


def _grown(plan: Plan) -> tuple[list[Write], bool]:
    """Missing Pods from the lowest ordinal on; whether what comes after has to wait."""
    writes: list[Write] = []
    for ordinal in plan.wanted:
        pod = plan.pods.get(ordinal)
        if pod is None:
            made = identified(plan.owner, ordinal, plan.revision_for(ordinal))
            name = made["metadata"]["name"]
            about = f"create Pod {name} in StatefulSet {plan.owner['metadata']['name']} successful"
            writes.append(Create(made, plan.owner, about))
        elif is_ended(pod) and not is_terminating(pod):
            writes += [
                Tell(
                    plan.owner,
                    "Warning",
                    "RecreatingFailedPod",
                    f"StatefulSet is recreating failed Pod {_name(pod)}",
                ),
                *_deleted(plan, pod),
            ]
        elif plan.is_healthy(pod):
            continue
        if plan.ordered:
            return writes, True
    return writes, False


def _shrunk(plan: Plan) -> tuple[list[Write], bool]:
    """Pods beyond the replicas go from the highest ordinal on, one by one if ordered."""
    condemned = sorted((number for number in plan.pods if number not in plan.wanted), reverse=True)
    unhealthy = [number for number in condemned if not plan.is_healthy(plan.pods[number])]
    writes: list[Write] = []
    for number in condemned:
        pod = plan.pods[number]
        if is_terminating(pod):
            if plan.ordered:
                return writes, True
            continue
        if plan.ordered and not plan.is_available(pod) and number != min(unhealthy):
            return writes, True
        writes += _deleted(plan, pod)
        if plan.ordered:
            return writes, True
    return writes, False


def _updated(plan: Plan) -> list[Write]:
    """Pods of older revisions go from the highest ordinal on, maxUnavailable at once."""
    newest = plan.update["metadata"]["name"]
    most = max(scaled(plan.rolling.get("maxUnavailable", 1), len(plan.wanted), up=True), 1)
    unavailable = sum(not plan.is_healthy(plan.pods.get(number)) for number in plan.wanted)
    writes: list[Write] = []
    for number in reversed(plan.wanted):
        pod = plan.pods.get(number)
        if number < plan.start + plan.partition or unavailable >= most:
            break
        if pod is not None and not is_terminating(pod) and revision_of(pod) != newest:
            writes += _deleted(plan, pod)
            unavailable += 1
    return writes


def _name(pod: Obj) -> str:
    return str(pod["metadata"]["name"])


def _deleted(plan: Plan, pod: Obj) -> list[Write]:
    owner = plan.owner["metadata"]["name"]
    about = f"delete Pod {_name(pod)} in StatefulSet {owner} successful"
    return [Delete(pod), Tell(plan.owner, "Normal", "SuccessfulDelete", about)]


def _finished(plan: Plan, known: Sequence[Obj]) -> list[Write]:
    """The status, the wait for minReadySeconds, and revisions that nobody needs."""
    status = status_of(plan)
    writes: list[Write] = []
    if status != plan.owner.get("status"):
        writes.append(UpdateStatus({**plan.owner, "status": status}))
    waits = plan.owner["spec"].get("minReadySeconds", 0)
    left = [available_in(pod, waits, plan.now) for pod in plan.pods.values()]
    if soon := [seconds for seconds in left if seconds is not None and seconds > 0]:
        writes.append(Again(min(soon) + 0.05))
    used = {revision_of(pod) for pod in plan.pods.values()}
    used |= {plan.update["metadata"]["name"], str(status["currentRevision"])}
    return writes + surplus_revisions(plan.owner, known, used)


def status_of(plan: Plan) -> dict[str, Any]:
    """updateStatefulSet's counts; and the update is the current revision when all Pods have it."""
    counts: Counter[str] = Counter()
    newest, current = plan.update["metadata"]["name"], plan.current["metadata"]["name"]
    for pod in plan.pods.values():
        counts["replicas"] += 1
        if is_ready(pod):
            counts["readyReplicas"] += 1
            counts["availableReplicas"] += plan.is_available(pod)
        if not is_terminating(pod):
            counts["currentReplicas"] += revision_of(pod) == current
            counts["updatedReplicas"] += revision_of(pod) == newest
    size = len(plan.wanted)
    whole = counts["replicas"] == counts["readyReplicas"] == counts["updatedReplicas"] == size
    if whole and not plan.on_delete:
        current = newest
        counts["currentReplicas"] = size
    status: dict[str, Any] = {
        "replicas": counts["replicas"],
        "availableReplicas": counts["availableReplicas"],
    }
    status |= {key: count for key, count in counts.items() if count}
    status |= {"currentRevision": current, "updateRevision": newest}
    return {**status, "observedGeneration": plan.owner["metadata"].get("generation", 1), "collisionCount": 0}
