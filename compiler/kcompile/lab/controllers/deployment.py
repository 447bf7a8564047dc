"""Deployments: which step of a rollout comes next (pkg/controller/deployment/deployment_controller.go)."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..client import Client, Key, Obj
from .labels import matcher_of
from .owners import adopters, claim, controller_uid, dependents, owner_keys
from .pods import is_terminating
from .progress import paused_condition, status_writes
from .revisions import annotated, cleanup, matching, new_replica_set, number, replicas_annotations
from .rollout import State, desired, is_scaling, recreate_targets, rolling_targets, scaling_targets
from .writes import Create, Tell, Update, UpdateStatus, Write

__all__ = ["Deployments", "decide"]


class Deployments:
    name = "deployment-controller"
    kinds = ("Deployment", "ReplicaSet", "Pod")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "Deployment":
            meta = (new or old or {})["metadata"]
            return [(meta["namespace"], meta["name"])]
        if kind == "ReplicaSet":
            return owner_keys("Deployment", old, new) or adopters(self._client, "Deployment", new)
        if new is not None:  # only Recreate asks for Pods, and only whether they are gone
            return []
        sets = [self._client.get("ReplicaSet", *key) for key in owner_keys("ReplicaSet", old)]
        return owner_keys("Deployment", *sets)

    def decide(self, key: Key) -> list[Write]:
        owner = self._client.get("Deployment", *key)
        if owner is None:
            return []
        sets = dependents(self._client, "ReplicaSet", owner)
        pods: list[Obj] = []
        for each in self._client.find("ReplicaSet", controller_uid, owner["metadata"]["uid"]):
            pods += self._client.find("Pod", controller_uid, each["metadata"]["uid"])
        return decide(owner, sets, pods, time.time())


def decide(owner: Obj, sets: Iterable[Obj], pods: Iterable[Obj], now: float) -> list[Write]:
    """The next step of `owner`, a Deployment.

    `sets`: its ReplicaSets, and orphans; `pods`: those of its own.
    """
    matcher = matcher_of(owner["spec"]["selector"])
    if matcher is None:
        return []
    owned, writes = claim(owner, matcher, sets, lambda each: not is_terminating(each))
    if writes:
        return writes
    current = matching(owner, owned)
    state = State(owner, current, [each for each in owned if each is not current])
    if is_terminating(owner):
        return status_writes(state, now)
    if (paused := paused_condition(owner, now)) is not None:
        return [UpdateStatus(paused)]
    if owner["spec"].get("paused") or is_scaling(state):
        return _scaled(state, now)
    if state.recreate:
        return _recreated(state, list(pods), now)
    return _rolled(state, now)


def _scaled(state: State, now: float) -> list[Write]:
    """A Deployment that is paused, or whose replicas have changed: no new ReplicaSet, only other numbers."""
    writes = _annotated(state) or _resized(state, scaling_targets(state))
    if writes:
        return writes
    writes = cleanup(state.owner, state.old) if state.owner["spec"].get("paused") else []
    return writes + status_writes(state, now)


def _rolled(state: State, now: float) -> list[Write]:
    """RollingUpdate: the new ReplicaSet grows before the old ones shrink."""
    return _made(state) or _annotated(state) or _stepped(state, rolling_targets(state), now)


def _recreated(state: State, pods: list[Obj], now: float) -> list[Write]:
    """Recreate: a new ReplicaSet only when no Pod of an old one runs."""
    if state.current is not None and (writes := _annotated(state)):
        return writes
    targets = recreate_targets(state, pods)
    if targets is None:
        return status_writes(state, now)
    if not targets and state.current is None:
        return _made(state)
    return _stepped(state, targets, now)


def _stepped(state: State, targets: list[tuple[Obj, int]], now: float) -> list[Write]:
    if writes := _resized(state, targets):
        return writes + status_writes(state, now)
    writes = status_writes(state, now)
    return writes if writes else cleanup(state.owner, state.old) if state.complete else []


def _made(state: State) -> list[Write]:
    """The new ReplicaSet, where there is none yet."""
    if state.current is not None:
        return []
    made = new_replica_set(state.owner, state.old, state.first_size, state.highest)
    taken = next((s for s in state.old if s["metadata"]["name"] == made["metadata"]["name"]), None)
    if taken is not None:  # another template has the same hash
        status = dict(state.owner.get("status") or {})
        status["collisionCount"] = status.get("collisionCount", 0) + 1
        return [UpdateStatus({**state.owner, "status": status})]
    name, size = made["metadata"]["name"], state.first_size
    writes: list[Write] = [Create(made, state.owner)]
    if size:
        text = f"Scaled up replica set {name} from 0 to {size}"
        writes.append(Tell(state.owner, "Normal", "ScalingReplicaSet", text))
    return writes


def _annotated(state: State) -> list[Write]:
    """The revision, in the annotations of the new ReplicaSet and of the Deployment."""
    if state.current is None:
        return []
    wanted = annotated(state.owner, state.current, state.old)
    if wanted != state.current:
        return [Update(wanted)]
    meta, revision = state.owner["metadata"], number(state.current)
    if number(state.owner) == revision:
        return []
    annotations = {**(meta.get("annotations") or {}), "deployment.kubernetes.io/revision": str(revision)}
    return [Update({**state.owner, "metadata": {**meta, "annotations": annotations}})]


def _resized(state: State, targets: list[tuple[Obj, int]]) -> list[Write]:
    """scaleReplicaSetAndRecordEvent, for each that differs."""
    writes: list[Write] = []
    for each, size in targets:
        was = desired(each)
        noted = replicas_annotations(each, state.replicas, state.highest)
        if was == size and noted == each:
            continue
        writes.append(Update({**noted, "spec": {**noted["spec"], "replicas": size}}))
        if was != size:
            how = "up" if size > was else "down"
            text = f"Scaled {how} replica set {each['metadata']['name']} from {was} to {size}"
            writes.append(Tell(state.owner, "Normal", "ScalingReplicaSet", text))
    return writes
