"""Pods that have ended stay to be looked at, the newest of them (pkg/controller/podgc)."""

from __future__ import annotations

from collections.abc import Iterable

from ..client import Client, Key, Obj
from .owners import controller_of
from .pods import is_ended
from .writes import Delete, Write

__all__ = ["EndedPods", "surplus"]

_ALL = ("", "ended")


class EndedPods:
    """`kept`: how many; those of a Job that goes on don't count, since it counts them."""

    name = "pod-garbage-collector"
    kinds = ("Pod",)

    def __init__(self, client: Client, kept: int) -> None:
        self._client, self._kept = client, kept

    def affected(self, _kind: str, _old: Obj | None, new: Obj | None) -> Iterable[Key]:
        return [_ALL] if new is not None and is_ended(new) else []

    def decide(self, _key: Key) -> list[Write]:
        ended = [pod for pod in self._client.find("Pod", _ended, "yes") if not self._is_counted(pod)]
        return surplus(ended, self._kept)

    def _is_counted(self, pod: Obj) -> bool:
        owner = controller_of(pod)
        if owner is None or owner["kind"] != "Job":
            return False
        job = self._client.get("Job", pod["metadata"]["namespace"], owner["name"])
        return job is not None and "completionTime" not in (job.get("status") or {})


def _ended(pod: Obj) -> Iterable[str]:
    """An index."""
    return ("yes",) if is_ended(pod) else ()


def surplus(ended: Iterable[Obj], kept: int) -> list[Write]:
    """Deletes all but the newest `kept`."""
    newest = sorted(ended, key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
    return [Delete(pod, grace=0) for pod in newest[kept:]]
