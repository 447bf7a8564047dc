"""DaemonSets: a Pod on each node that fits (pkg/controller/daemon)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..client import Client, Key, Obj
from .fit import matches_node, tolerates
from .history import REVISION_LABEL, latest, revision_of, revisions, surplus_revisions, template_of
from .labels import matcher_of
from .numbers import scaled
from .owners import adopters, claim, dependents, owner_keys
from .pods import available_in, is_ended, is_ready, is_terminating, pod_from
from .writes import Again, Create, Delete, Tell, UpdateStatus, Write

__all__ = ["DaemonSets", "State", "node_of", "steps"]

_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
"""Taints that Pods of every DaemonSet tolerate (AddOrUpdateDaemonPodTolerations)."""


class DaemonSets:
    name = "daemonset-controller"
    kinds = ("DaemonSet", "Pod", "Node", "ControllerRevision")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "DaemonSet":
            meta = (new or old or {})["metadata"]
            return [(meta["namespace"], meta["name"])]
        if kind == "Node":
            return list(self._client.objects("DaemonSet"))
        keys = owner_keys("DaemonSet", old, new)
        return keys or (adopters(self._client, "DaemonSet", new) if kind == "Pod" else [])

    def decide(self, key: Key) -> list[Write]:
        owner = self._client.get("DaemonSet", *key)
        matcher = None if owner is None else matcher_of(owner["spec"]["selector"])
        if owner is None or matcher is None or is_terminating(owner):
            return []
        known = revisions(self._client, owner)
        update, writes = latest(owner, known)
        if update is None:
            return writes
        pods, writes = claim(owner, matcher, dependents(self._client, "Pod", owner), lambda _: True)
        if writes:
            return writes
        nodes = list(self._client.objects("Node").values())
        state = State(owner, nodes, _by_node(pods), update, time.time())
        digests = {revision_of(pod) for pod in pods} | {revision_of(update)}
        used = [each["metadata"]["name"] for each in known if revision_of(each) in digests]
        return [*steps(state), *_finished(state), *surplus_revisions(owner, known, used)]


class State(NamedTuple):
    """`pods`: those of the DaemonSet, by their nodes. `update`: the revision of its template."""

    owner: Obj
    nodes: Sequence[Obj]
    pods: dict[str, list[Obj]]
    update: Obj
    now: float


def node_of(pod: Obj) -> str:
    """The node that the Pod is on, or made for; empty if it is for none."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return ""


def _by_node(pods: Iterable[Obj]) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = {}
    for pod in pods:
        found.setdefault(node_of(pod), []).append(pod)
    return found


def _pod(state: State, node: str) -> Obj:
    """The Pod of a node, which the scheduler will put there."""
    pod = pod_from(template_of(state.update), state.owner)
    pod["metadata"]["labels"] |= {REVISION_LABEL: revision_of(state.update)}
    spec = pod["spec"]
    own = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED]
    if spec.get("hostNetwork"):
        own.append(
            {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}
        )
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *own]
    spec["affinity"] = _for_node(spec.get("affinity") or {}, node)
    return pod


def _for_node(affinity: dict[str, Any], node: str) -> dict[str, Any]:
    """ReplaceDaemonSetPodNodeNameNodeAffinity."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    of_nodes = {
        **(affinity.get("nodeAffinity") or {}),
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [field]}]},
    }
    return {**affinity, "nodeAffinity": of_nodes}


def _fits(state: State, node: Obj, effects: Iterable[str]) -> bool:
    """Whether a Pod of this DaemonSet may be on the node (NodeShouldRunDaemonPod)."""
    template = state.owner["spec"]["template"]["spec"]
    own = [{"key": key, "operator": "Exists", "effect": effect} for key, effect in _TOLERATED]
    pod = {"spec": {"tolerations": [*(template.get("tolerations") or ()), *own]}}
    name = template.get("nodeName")
    return name in (None, "", _name(node)) and matches_node(template, node) and tolerates(pod, node, effects)


def _name(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def steps(state: State) -> list[Write]:
    """Pods to make on nodes without, and to delete: ended, misplaced and older ones (manage)."""
    writes: list[Write] = []
    for node in state.nodes:
        pods = state.pods.get(_name(node), [])
        alive = [pod for pod in pods if not is_terminating(pod)]
        failed = [pod for pod in alive if is_ended(pod)]
        for pod in failed:
            writes += _deleted(state, pod)
        if not _fits(state, node, ("NoExecute",)):
            for pod in alive:
                writes += _deleted(state, pod)
        elif not pods and _fits(state, node, ("NoSchedule", "NoExecute")):
            writes.append(Create(_pod(state, _name(node)), state.owner, "Created pod: {name}"))
        elif not failed:
            for pod in sorted(alive, key=lambda each: each["metadata"]["creationTimestamp"])[1:]:
                writes += _deleted(state, pod)
    strategy = state.owner["spec"].get("updateStrategy") or {}
    return writes if writes or strategy.get("type") == "OnDelete" else _updated(state)


def _deleted(state: State, pod: Obj) -> list[Write]:
    return [Delete(pod), Tell(state.owner, "Normal", "SuccessfulDelete", f"Deleted pod: {_name(pod)}")]


def _is_available(state: State, pod: Obj) -> bool:
    left = available_in(pod, state.owner["spec"].get("minReadySeconds", 0), state.now)
    return left is not None and left <= 0 and not is_terminating(pod)


def _updated(state: State) -> list[Write]:
    """Pods of older revisions go, as many at once as maxUnavailable lets (rollingUpdate).

    Those that aren't available go first: they cost nothing.
    """
    rolling = (state.owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    wanted = [node for node in state.nodes if _fits(state, node, ("NoSchedule", "NoExecute"))]
    left = max(scaled(rolling.get("maxUnavailable", 1), len(wanted), up=True), 1)
    newest = revision_of(state.update)
    free: list[Obj] = []
    costly: list[Obj] = []
    for node in wanted:
        pods = state.pods.get(_name(node), [])
        available = any(_is_available(state, pod) for pod in pods)
        old = [pod for pod in pods if not is_terminating(pod) and revision_of(pod) != newest]
        (costly if available else free).extend(old)
        left -= not available and not old
    writes: list[Write] = []
    for pod in free + costly[: max(left - len(free), 0)]:
        writes += _deleted(state, pod)
    return writes


def _finished(state: State) -> list[Write]:
    """The status, and the wait for minReadySeconds."""
    status = status_of(state)
    writes: list[Write] = []
    if status != state.owner.get("status"):
        writes.append(UpdateStatus({**state.owner, "status": status}))
    waits = state.owner["spec"].get("minReadySeconds", 0)
    left = [available_in(pod, waits, state.now) for pods in state.pods.values() for pod in pods]
    soon = [seconds for seconds in left if seconds is not None and seconds > 0]
    return [*writes, Again(min(soon) + 0.05)] if soon else writes


def status_of(state: State) -> dict[str, Any]:
    """updateDaemonSetStatus."""
    counts: Counter[str] = Counter()
    for node in state.nodes:
        pods = [pod for pod in state.pods.get(_name(node), ()) if not is_terminating(pod)]
        if not _fits(state, node, ("NoSchedule", "NoExecute")):
            counts["numberMisscheduled"] += bool(pods)
            continue
        counts["desiredNumberScheduled"] += 1
        counts["currentNumberScheduled"] += bool(pods)
        oldest = min(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)
        if oldest is not None:
            counts["numberReady"] += is_ready(oldest)
            counts["numberAvailable"] += _is_available(state, oldest)
            counts["updatedNumberScheduled"] += revision_of(oldest) == revision_of(state.update)
    counts["numberUnavailable"] = counts["desiredNumberScheduled"] - counts["numberAvailable"]
    always = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
    status: dict[str, Any] = {key: counts[key] for key in always}
    status |= {key: count for key, count in counts.items() if count}
    return {**status, "observedGeneration": state.owner["metadata"].get("generation", 1)}
