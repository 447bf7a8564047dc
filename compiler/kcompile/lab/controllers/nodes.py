"""What becomes of a node's Pods when it isn't ready, is tainted, or goes.

pkg/controller/nodelifecycle, tainteviction and podgc. A node says itself whether it is ready: there are no
heartbeats in a lab.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..client import Client, Key, Obj
from .fit import tolerated_by
from .pods import (
    condition,
    is_ended,
    is_ready,
    is_terminating,
    node_name,
    seconds_of,
    stamp,
    with_condition,
)
from .writes import Again, Delete, Tell, Update, UpdateStatus, Write

__all__ = ["Nodes", "decide", "tainted"]

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_BY_STATUS = {"False": "node.kubernetes.io/not-ready", "Unknown": "node.kubernetes.io/unreachable"}
_DEFAULT = 300  # tolerationSeconds that the API server gives a Pod which says nothing


class Nodes:
    """`eviction`: seconds until Pods leave a node that isn't ready, if they don't say how long they stay."""

    name = "node-controller"
    kinds = ("Node", "Pod")

    def __init__(self, client: Client, eviction: float) -> None:
        self._client, self._eviction = client, eviction

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "Node":
            return [("", (new or old or {})["metadata"]["name"])]
        if new is None or (old is not None and old["spec"].get("nodeName")):
            return []
        return [("", name) for name in node_name(new) if name and old is not None]

    def decide(self, key: Key) -> list[Write]:
        node = self._client.get("Node", *key)
        pods = self._client.find("Pod", node_name, key[1])
        if node is None:  # nobody is left to end them
            return [Delete(pod, grace=0) for pod in pods]
        return decide(node, pods, self._eviction, time.time())


def decide(node: Obj, pods: Iterable[Obj], eviction: float, now: float) -> list[Write]:
    """The node's taints; and of its Pods: not ready where it isn't, gone where they don't tolerate it."""
    wanted = tainted(node, now)
    if wanted != node:
        return [Update(wanted)]
    ready = condition(node, "Ready")
    lost = ready is not None and ready["status"] != "True"
    taints = [each for each in (node.get("spec") or {}).get("taints") or () if each["effect"] == "NoExecute"]
    writes: list[Write] = []
    for pod in pods:
        if lost and is_ready(pod):
            writes += _not_ready(pod, now)
        if taints and not is_terminating(pod) and not is_ended(pod):
            writes += _evicted(pod, taints, eviction, now)
    return writes


def tainted(node: Obj, now: float) -> Obj:
    """`node` with the taints that its spec and its condition Ready call for; itself if it has them."""
    spec = node.get("spec") or {}
    before = spec.get("taints") or []
    ready = condition(node, "Ready")
    own = set()
    if spec.get("unschedulable"):
        own.add((_UNSCHEDULABLE, "NoSchedule"))
    if ready is not None and (key := _BY_STATUS.get(ready["status"])):
        own |= {(key, "NoSchedule"), (key, "NoExecute")}
    managed = {_UNSCHEDULABLE, *_BY_STATUS.values()}
    kept = [_timed(each, now) for each in before if each["key"] not in managed or _place(each) in own]
    missing = sorted(own - {_place(each) for each in kept})
    added = [_timed({"key": key, "effect": effect}, now) for key, effect in missing]
    if kept + added == before:
        return node
    return {**node, "spec": {**spec, "taints": kept + added}}


def _place(taint: Mapping[str, Any]) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def _timed(taint: Mapping[str, Any], now: float) -> dict[str, Any]:
    """With the time from which a NoExecute counts."""
    if taint["effect"] != "NoExecute" or taint.get("timeAdded"):
        return dict(taint)
    return {**taint, "timeAdded": stamp(now)}


def _not_ready(pod: Obj, now: float) -> list[Write]:
    """MarkPodsNotReady."""
    status = pod["status"]
    new = {**(condition(pod, "Ready") or {}), "status": "False", "lastTransitionTime": stamp(now)}
    conditions = with_condition(status["conditions"], new)
    return [
        UpdateStatus({**pod, "status": {**status, "conditions": conditions}}),
        Tell(pod, "Warning", "NodeNotReady", "Node is not ready"),
    ]


def _evicted(pod: Obj, taints: Iterable[Mapping[str, Any]], eviction: float, now: float) -> list[Write]:
    """The Pod's deletion, or when it is due; [] if it tolerates all taints for ever."""
    left: list[float] = []
    for taint in taints:
        tolerations = [t for t in pod["spec"].get("tolerations") or () if tolerated_by(taint, t)]
        if not tolerations:
            left.append(0)
            continue
        seconds = [t["tolerationSeconds"] for t in tolerations if t.get("tolerationSeconds") is not None]
        if seconds:
            stays = eviction if min(seconds) == _DEFAULT else float(min(seconds))
            left.append(seconds_of(taint.get("timeAdded")) + stays - now)
    if not left:
        return []
    if min(left) > 0:
        return [Again(min(left))]
    where = "/".join((pod["metadata"]["namespace"], pod["metadata"]["name"]))
    return [Delete(pod), Tell(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {where}")]
