"""How many Pods each ReplicaSet of a Deployment is to have: pure arithmetic.

pkg/controller/deployment/{rolling,recreate,sync}.go and util/deployment_util.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ..client import Obj
from .numbers import scaled
from .owners import controller_uid
from .pods import is_ended

__all__ = ["State", "desired", "is_scaling", "recreate_targets", "rolling_targets", "scaling_targets"]

DESIRED = "deployment.kubernetes.io/desired-replicas"
HIGHEST = "deployment.kubernetes.io/max-replicas"
Targets = list[tuple[Obj, int]]


def desired(replica_set: Obj) -> int:
    found: int = replica_set["spec"].get("replicas", 1)
    return found


def _count(replica_set: Obj, field: str) -> int:
    found: int = (replica_set.get("status") or {}).get(field, 0)
    return found


def _age(replica_set: Obj) -> tuple[str, str]:
    return replica_set["metadata"]["creationTimestamp"], replica_set["metadata"]["name"]


class State:
    """A Deployment with its ReplicaSets: `current` has its template, None where there is none yet."""

    def __init__(self, owner: Obj, current: Obj | None, old: Iterable[Obj]) -> None:
        self.owner, self.current = owner, current
        self.old = sorted(old, key=_age)
        self.all = [*self.old, *([] if current is None else [current])]
        self.replicas: int = owner["spec"].get("replicas", 1)

    @property
    def recreate(self) -> bool:
        return bool((self.owner["spec"].get("strategy") or {}).get("type") == "Recreate")

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """maxSurge and maxUnavailable in Pods (ResolveFenceposts)."""
        if self.recreate:
            return 0, 0
        rolling: dict[str, Any] = (self.owner["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        surge = scaled(rolling.get("maxSurge", "25%"), self.replicas, up=True)
        unavailable = scaled(rolling.get("maxUnavailable", "25%"), self.replicas, up=False)
        if not surge and not unavailable:
            unavailable = 1
        return surge, min(unavailable, self.replicas)

    @property
    def highest(self) -> int:
        """As many Pods as there may be at once."""
        return self.replicas + self.bounds[0]

    @property
    def lowest(self) -> int:
        """As many Pods as have to be available."""
        return self.replicas - self.bounds[1]

    def total(self, field: str) -> int:
        return sum(_count(each, field) for each in self.all)

    @property
    def first_size(self) -> int:
        """The size of a new ReplicaSet (NewRSNewReplicas)."""
        return self.grown(0)

    def grown(self, size: int) -> int:
        """To what size the new ReplicaSet, now of `size`, may grow."""
        if self.recreate:
            return self.replicas
        room = self.highest - sum(desired(each) for each in self.all)
        return size + max(min(room, self.replicas - size), 0)

    @property
    def complete(self) -> bool:
        """DeploymentComplete: every Pod is new, and available."""
        if self.current is None:
            return False
        updated = _count(self.current, "replicas")
        return updated == self.total("replicas") == self.total("availableReplicas") == self.replicas


def is_scaling(state: State) -> bool:
    """True if spec.replicas differs from what an active ReplicaSet was last scaled for (isScalingEvent)."""
    for each in state.all:
        noted = (each["metadata"].get("annotations") or {}).get(DESIRED)
        if desired(each) and noted is not None and int(noted) != state.replicas:
            return True
    return False


def rolling_targets(state: State) -> Targets:
    """The next step of a rolling update: [] where there is none now."""
    assert state.current is not None
    size = desired(state.current)
    target = state.replicas if size > state.replicas else state.grown(size)
    if target != size:
        return [(state.current, target)]
    return _shrunk(state)


def _shrunk(state: State) -> Targets:
    """Old ReplicaSets, smaller by as much as availability allows (reconcileOldReplicaSets)."""
    assert state.current is not None
    pods = sum(desired(each) for each in state.all)
    missing = desired(state.current) - _count(state.current, "availableReplicas")
    most = pods - state.lowest - missing
    if most <= 0:
        return []
    sizes = {each["metadata"]["uid"]: desired(each) for each in state.old}
    for (
        each
    ) in state.old:  # Pods that aren't available go first: they cost nothing (cleanupUnhealthyReplicas)
        size = desired(each)
        gone = max(min(most, size - _count(each, "availableReplicas")), 0)
        sizes[each["metadata"]["uid"]] -= gone
        most -= gone
    spare = state.total("availableReplicas") - state.lowest
    for each in state.old:
        gone = max(min(spare, most, sizes[each["metadata"]["uid"]]), 0)
        sizes[each["metadata"]["uid"]] -= gone
        spare -= gone
        most -= gone
    changed = [(each, sizes[each["metadata"]["uid"]]) for each in state.old]
    return [(each, size) for each, size in changed if size != desired(each)]


def recreate_targets(state: State, pods: Iterable[Obj]) -> Targets | None:
    """The next step of a Recreate; None while Pods of an old ReplicaSet are still there."""
    if active := [each for each in state.old if desired(each)]:
        return [(each, 0) for each in active]
    current = "" if state.current is None else state.current["metadata"]["uid"]
    running = [pod for pod in pods if not is_ended(pod) and current not in controller_uid(pod)]
    if running or any(_count(each, "replicas") for each in state.old):
        return None
    return [] if state.current is None else [(state.current, state.replicas)]


def scaling_targets(state: State) -> Targets:
    """All ReplicaSets after a change of spec.replicas, in proportion while a rollout is under way (scale)."""
    active = [each for each in state.all if desired(each)]
    if len(active) <= 1:
        only = active[0] if active else state.current or (state.old[-1] if state.old else None)
        return [] if only is None else [(only, state.replicas)]
    if state.current is not None and _is_saturated(state, state.current):
        return [(each, 0) for each in active if each is not state.current] + [(state.current, state.replicas)]
    if state.recreate:
        return [(each, 0) for each in active if each is not state.current]
    return _proportional(state, active)


def _is_saturated(state: State, current: Obj) -> bool:
    """IsSaturated: the new ReplicaSet has all Pods of the Deployment, and they are available."""
    noted = (current["metadata"].get("annotations") or {}).get(DESIRED, "-1")
    sizes = (desired(current), int(noted), _count(current, "availableReplicas"))
    return all(size == state.replicas for size in sizes)


def _proportional(state: State, active: list[Obj]) -> Targets:
    """Each by its share (GetReplicaSetProportion); what rounding leaves goes to the largest."""
    allowed = state.highest if state.replicas else 0
    more = allowed - sum(desired(each) for each in active)
    newest_first = sorted(active, key=_age, reverse=more > 0)
    ordered = sorted(newest_first, key=desired, reverse=True)
    sizes, added = [], 0
    for each in ordered:
        share = _share(state, each) if more else 0
        share = max(min(share, more - added), 0) if more > 0 else min(max(share, more - added), 0)
        sizes.append(desired(each) + share)
        added += share
    if more:
        sizes[0] = max(sizes[0] + more - added, 0)
    return list(zip(ordered, sizes, strict=True))


def _share(state: State, each: Obj) -> int:
    """By how much this one changes (getReplicaSetFraction)."""
    if not state.replicas:
        return -desired(each)
    noted = (each["metadata"].get("annotations") or {}).get(HIGHEST)
    before = int(noted or 0) or (state.owner.get("status") or {}).get("replicas", 0)
    if not before:
        return 0
    exact: float = desired(each) * state.highest / before
    return int(exact + 0.5) - desired(each)
