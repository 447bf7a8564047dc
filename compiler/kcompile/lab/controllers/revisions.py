"""The ReplicaSets of a Deployment as its history: templates, revisions, what is kept.

pkg/controller/deployment/sync.go (getNewReplicaSet, cleanupDeployment) and util/deployment_util.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..client import Obj
from .numbers import template_hash
from .owners import reference
from .pods import is_terminating
from .rollout import DESIRED, HIGHEST
from .writes import Delete, Write

__all__ = ["annotated", "cleanup", "matching", "new_replica_set", "number", "replicas_annotations"]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_NOT_COPIED = frozenset(
    ("kubectl.kubernetes.io/last-applied-configuration", REVISION, _HISTORY, DESIRED, HIGHEST)
)


def number(obj: Obj) -> int:
    """The revision of a ReplicaSet or Deployment; 0 where it has none."""
    return int((obj["metadata"].get("annotations") or {}).get(REVISION) or 0)


def matching(owner: Obj, sets: Iterable[Obj]) -> Obj | None:
    """The ReplicaSet with the template of `owner`, the oldest of several (FindNewReplicaSet)."""
    wanted = _bare(owner["spec"]["template"])
    found = [each for each in sets if _bare(each["spec"]["template"]) == wanted]
    return min(found, key=lambda each: (each["metadata"]["creationTimestamp"], number(each)), default=None)


def _bare(template: dict[str, Any]) -> dict[str, Any]:
    """The template without the label of its hash, and without nulls and empty metadata."""
    meta = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**meta, "labels": labels}}


def new_replica_set(owner: Obj, old: Sequence[Obj], size: int, highest: int) -> Obj:
    """The ReplicaSet of the next revision, with `size` Pods."""
    collisions = (owner.get("status") or {}).get("collisionCount", 0)
    template, selector = owner["spec"]["template"], owner["spec"]["selector"]
    digest = {HASH_LABEL: template_hash(template, collisions)}
    meta = template.get("metadata") or {}
    labels = (meta.get("labels") or {}) | digest
    template = {**template, "metadata": {**meta, "labels": labels}}
    selector = {**selector, "matchLabels": (selector.get("matchLabels") or {}) | digest}
    made: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{owner['metadata']['name']}-{digest[HASH_LABEL]}",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
            "ownerReferences": [reference(owner)],
        },
        "spec": {"replicas": size, "selector": selector, "template": template},
    }
    if waits := owner["spec"].get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = waits
    return replicas_annotations(annotated(owner, made, old), owner["spec"].get("replicas", 1), highest)


def annotated(owner: Obj, current: Obj, old: Iterable[Obj]) -> Obj:
    """`current` with the annotations of `owner` and the highest revision of all.

    So after a rollback to it, which keeps the older numbers in a history (SetNewReplicaSetAnnotations).
    """
    meta, spec = current["metadata"], current["spec"]
    given = (owner["metadata"].get("annotations") or {}).items()
    before = meta.get("annotations") or {}
    notes = before | {key: value for key, value in given if key not in _NOT_COPIED}
    revision = max((number(each) for each in old), default=0) + 1
    if number(current) < revision:
        notes[REVISION] = str(revision)
        if was := before.get(REVISION):
            history = [*filter(None, before.get(_HISTORY, "").split(",")), was]
            notes[_HISTORY] = ",".join(history)
    waits = owner["spec"].get("minReadySeconds", 0)
    if spec.get("minReadySeconds", 0) != waits:
        spec = {**spec, "minReadySeconds": waits}
    return current if notes == before and spec is current["spec"] else _with(current, notes, spec)


def replicas_annotations(each: Obj, replicas: int, highest: int) -> Obj:
    """A ReplicaSet that says for what size of its Deployment it was scaled last (SetReplicasAnnotations)."""
    before = each["metadata"].get("annotations") or {}
    notes = before | {DESIRED: str(replicas), HIGHEST: str(highest)}
    return each if notes == before else _with(each, notes, each["spec"])


def _with(each: Obj, annotations: dict[str, str], spec: dict[str, Any]) -> Obj:
    return {**each, "metadata": {**each["metadata"], "annotations": annotations}, "spec": spec}


def cleanup(owner: Obj, old: Iterable[Obj]) -> list[Write]:
    """Deletes empty ReplicaSets beyond revisionHistoryLimit, oldest revisions first (cleanupDeployment)."""
    alive = sorted((each for each in old if not is_terminating(each)), key=number)
    surplus = alive[: max(len(alive) - owner["spec"].get("revisionHistoryLimit", 10), 0)]
    return [Delete(each) for each in surplus if _is_empty(each)]


def _is_empty(each: Obj) -> bool:
    status = each.get("status") or {}
    seen = status.get("observedGeneration", 0) >= each["metadata"].get("generation", 1)
    return seen and not status.get("replicas") and not each["spec"].get("replicas", 1)
