"""Jobs: Pods until enough have succeeded (pkg/controller/job)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..client import Client, Key, Obj
from .indexes import completed_indexes, indexed_pods, spelled
from .labels import matcher_of
from .owners import adopters, claim, dependents, owner_keys
from .pods import condition, is_active, is_ready, is_terminating, pod_from, seconds_of, stamp
from .writes import Again, Create, Delete, Tell, UpdateStatus, Write

__all__ = ["Jobs", "State", "decide"]

_FIRST_RETRY = 10.0  # seconds after a Pod's failure
_LONGEST_RETRY = 600.0
_FAILURES = {
    "BackoffLimitExceeded": "Job has reached the specified backoff limit",
    "DeadlineExceeded": "Job was active longer than specified deadline",
}
_SUCCESS = "Reached expected number of succeeded pods"


class Jobs:
    name = "job-controller"
    kinds = ("Job", "Pod")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "Job":
            meta = (new or old or {})["metadata"]
            return [(meta["namespace"], meta["name"])]
        return owner_keys("Job", old, new) or adopters(self._client, "Job", new)

    def decide(self, key: Key) -> list[Write]:
        job = self._client.get("Job", *key)
        matcher = None if job is None else matcher_of(job["spec"].get("selector"))
        if job is None or matcher is None or is_terminating(job):
            return []
        pods, writes = claim(job, matcher, dependents(self._client, "Pod", job), is_active)
        return writes or decide(State(job, pods, time.time()))


class State(NamedTuple):
    """A Job and its Pods."""

    job: Obj
    pods: Sequence[Obj]
    now: float

    def of(self, phase: str) -> list[Obj]:
        return [pod for pod in self.pods if (pod.get("status") or {}).get("phase") == phase]

    @property
    def active(self) -> list[Obj]:
        return [pod for pod in self.pods if is_active(pod)]

    @property
    def indexed(self) -> bool:
        return bool(self.job["spec"].get("completionMode") == "Indexed")

    @property
    def succeeded(self) -> int:
        """Pods that have succeeded, also those that are gone again."""
        if self.indexed:
            return len(completed_indexes(self.job, self.of("Succeeded")))
        counted: int = (self.job.get("status") or {}).get("succeeded", 0)
        return max(len(self.of("Succeeded")), counted)

    @property
    def failed(self) -> int:
        counted: int = (self.job.get("status") or {}).get("failed", 0)
        return max(len(self.of("Failed")), counted)


def decide(state: State) -> list[Write]:
    """The Job's next Pods, its end, or its deletion some time after that."""
    job = state.job
    if (ended := _end(job)) is not None:
        return _after(state, seconds_of(ended["lastTransitionTime"]))
    if failure := _failure(state):
        return _ended(state, "FailureTarget", "Failed", failure, _FAILURES[failure])
    if _is_complete(state):
        return _ended(state, "SuccessCriteriaMet", "Complete", "CompletionsReached", _SUCCESS)
    if job["spec"].get("suspend"):
        return [*_stopped(state), *_with_status(state, _suspended(state, "True"))]
    writes = _pods(state)
    return [*writes, *_deadline(state), *_with_status(state, _suspended(state, "False"))]


def _end(job: Obj) -> dict[str, Any] | None:
    """The condition Complete or Failed."""
    found = [condition(job, kind) for kind in ("Complete", "Failed")]
    return next((each for each in found if each is not None and each["status"] == "True"), None)


def _after(state: State, since: float) -> list[Write]:
    """A Job that has ended goes after ttlSecondsAfterFinished."""
    seconds = state.job["spec"].get("ttlSecondsAfterFinished")
    if seconds is None:
        return []
    left = since + seconds - state.now
    return [Again(left)] if left > 0 else [Delete(state.job, propagation="Background")]


def _failure(state: State) -> str:
    """The reason why the Job has failed; empty if it hasn't."""
    spec = state.job["spec"]
    limit = spec.get("backoffLimit", 6)
    restarts = 0
    if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
        restarts = sum(_restarts(pod) for pod in state.active)
    if state.failed > limit or (restarts and restarts >= limit):
        return "BackoffLimitExceeded"
    return "DeadlineExceeded" if _left(state) <= 0 else ""


def _restarts(pod: Obj) -> int:
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return sum(each.get("restartCount", 0) for each in containers)


def _left(state: State) -> float:
    """Seconds until activeDeadlineSeconds are over."""
    seconds = state.job["spec"].get("activeDeadlineSeconds")
    since = (state.job.get("status") or {}).get("startTime")
    if seconds is None or since is None or state.job["spec"].get("suspend"):
        return float("inf")
    return seconds_of(since) + float(seconds) - state.now


def _deadline(state: State) -> list[Write]:
    left = _left(state)
    return [] if left == float("inf") else [Again(left)]


def _is_complete(state: State) -> bool:
    """Without completions: when one Pod has succeeded and all have ended."""
    completions = state.job["spec"].get("completions")
    if completions is None:
        return state.succeeded > 0 and not state.active
    return state.succeeded >= int(completions)


def _stopped(state: State) -> list[Write]:
    """The deletion of the Pods that still run."""
    writes: list[Write] = []
    for pod in state.active:
        text = f"Deleted pod: {pod['metadata']['name']}"
        writes += [Delete(pod), Tell(state.job, "Normal", "SuccessfulDelete", text)]
    return writes


def _ended(state: State, first: str, last: str, reason: str, message: str) -> list[Write]:
    """The condition `first` at once; `last`, and an Event, when all Pods have ended or are gone."""
    running = [pod for pod in state.pods if pod not in state.of("Succeeded") + state.of("Failed")]
    kinds = [first] if running else [first, last]
    why = {"reason": reason, "message": message}
    kept = list((state.job.get("status") or {}).get("conditions") or ())
    missing = [kind for kind in kinds if condition(state.job, kind) is None]
    kept += [_condition(kind, "True", state.now) | why for kind in missing]
    writes = [*_stopped(state), *_with_status(state, kept, done=not running and last == "Complete")]
    if not running:
        told = (
            ("Normal", "Completed", "Job completed") if last == "Complete" else ("Warning", reason, message)
        )
        writes.append(Tell(state.job, *told))
    return writes


def _condition(kind: str, status: str, now: float) -> dict[str, Any]:
    return {"type": kind, "status": status, "lastProbeTime": stamp(now), "lastTransitionTime": stamp(now)}


def _suspended(state: State, status: str) -> list[dict[str, Any]]:
    """The conditions with the one that says whether the Job is suspended, if it ever was."""
    kept = list((state.job.get("status") or {}).get("conditions") or ())
    before = condition(state.job, "Suspended")
    if (status if before is None else before["status"]) == status and (
        before is not None or status == "False"
    ):
        return kept
    word = "suspended" if status == "True" else "resumed"
    new = _condition("Suspended", status, state.now)
    new |= {"reason": f"Job{word.title()}", "message": f"Job {word}"}
    return [each for each in kept if each["type"] != "Suspended"] + [new]


def _pods(state: State) -> list[Write]:
    """Pods to make, or those that are too many (manageJob)."""
    spec, active = state.job["spec"], state.active
    wanted: int = spec.get("parallelism", 1)
    if (completions := spec.get("completions")) is not None:
        wanted = min(wanted, completions - state.succeeded)
    elif state.succeeded:
        wanted = min(wanted, len(active))
    if len(active) > wanted:
        return [Delete(pod) for pod in sorted(active, key=is_ready)[: len(active) - wanted]]
    if len(active) == wanted:
        return []
    if (wait := _retry(state)) > 0:
        return [Again(wait)]
    missing = wanted - len(active)
    if state.indexed:
        made = indexed_pods(state.job, completed_indexes(state.job, state.of("Succeeded")), active, missing)
    else:
        made = [pod_from(spec["template"], state.job) for _ in range(missing)]
    return [Create(pod, state.job, "Created pod: {name}") for pod in made]


def _retry(state: State) -> float:
    """Seconds until a Pod may take the place of one that failed: 10, and twice as many each time."""
    failed = state.of("Failed")
    if not failed:
        return 0.0
    last = max(_finished_at(pod, state.now) for pod in failed)
    pause = min(_FIRST_RETRY * 2.0 ** min(len(failed) - 1, 10), _LONGEST_RETRY)
    return last + pause - state.now


def _finished_at(pod: Obj, now: float) -> float:
    times = []
    for each in pod["status"].get("containerStatuses") or ():
        ended = (each.get("state") or {}).get("terminated") or {}
        times.append(seconds_of(ended.get("finishedAt")))
    return (
        max(times, default=0.0)
        or seconds_of((condition(pod, "Ready") or {}).get("lastTransitionTime"))
        or now
    )


def _with_status(state: State, conditions: list[dict[str, Any]], *, done: bool = False) -> list[Write]:
    before = state.job.get("status") or {}
    counts = {
        "active": len(state.active),
        "succeeded": state.succeeded,
        "failed": state.failed,
    }
    status: dict[str, Any] = {key: count for key, count in counts.items() if count}
    status |= {
        "ready": sum(is_ready(pod) for pod in state.active),
        "terminating": sum(is_terminating(pod) for pod in state.pods),
        "uncountedTerminatedPods": {},
    }
    if not state.job["spec"].get("suspend"):
        status["startTime"] = before.get("startTime") or stamp(state.now)
    if done:
        status["completionTime"] = stamp(state.now)
    if conditions:
        status["conditions"] = conditions
    if state.indexed and (completed := completed_indexes(state.job, state.of("Succeeded"))):
        status["completedIndexes"] = spelled(completed)
    return [] if status == before else [UpdateStatus({**state.job, "status": status})]
