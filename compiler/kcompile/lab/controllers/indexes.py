"""The Pods of a Job whose completionMode is Indexed (pkg/controller/job/indexed_job_utils.go)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from ..client import Obj
from .pods import pod_from

__all__ = ["completed_indexes", "indexed_pods", "spelled"]

_INDEX = "batch.kubernetes.io/job-completion-index"
_ENVIRONMENT = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{_INDEX}']"}},
}


def _index(pod: Obj) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(_INDEX, -1))


def completed_indexes(job: Obj, succeeded: Iterable[Obj]) -> set[int]:
    """The indexes that have succeeded, also those whose Pods are gone again."""
    found = {_index(pod) for pod in succeeded} - {-1}
    for part in filter(None, (job.get("status") or {}).get("completedIndexes", "").split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def spelled(indexes: Iterable[int]) -> str:
    """Indexes as the status has them: ``0-2,5``."""
    parts = []
    for _, run in groupby(enumerate(sorted(indexes)), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        parts.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(parts)


def indexed_pods(job: Obj, completed: set[int], active: Iterable[Obj], count: int) -> list[Obj]:
    """`count` Pods for the lowest indexes that are free."""
    taken = completed | {_index(pod) for pod in active}
    free = [number for number in range(job["spec"].get("completions", 0)) if number not in taken]
    return [_pod(job, number) for number in free[:count]]


def _pod(job: Obj, number: int) -> Obj:
    pod = pod_from(job["spec"]["template"], job)
    meta, spec = pod["metadata"], pod["spec"]
    name = f"{job['metadata']['name']}-{number}"
    meta["generateName"] = f"{name}-"
    meta["annotations"] = {**meta.get("annotations", {}), _INDEX: str(number)}
    meta["labels"][_INDEX] = str(number)
    spec["hostname"] = name
    for part in ("initContainers", "containers"):
        if part in spec:
            spec[part] = [_numbered(container) for container in spec[part]]
    return pod


def _numbered(container: dict[str, Any]) -> dict[str, Any]:
    return {**container, "env": [*(container.get("env") or ()), _ENVIRONMENT]}
