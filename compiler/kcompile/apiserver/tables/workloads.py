"""The cells of what makes Pods; each function is printX of pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from typing import Any

from .text import age, containers, labels, seconds_since, selector, span

__all__ = ["daemon_set", "deployment", "job", "replica_set", "stateful_set"]

Plain = dict[str, Any]
_JOB_STATES = ("Complete", "Failed", "Suspended")


def _parts(obj: Plain) -> tuple[str, Plain, Plain, str]:
    """Name, spec, status, age."""
    meta = obj["metadata"]
    return meta["name"], obj.get("spec") or {}, obj.get("status") or {}, age(meta.get("creationTimestamp"))


def _template(spec: Plain) -> Plain:
    found: Plain = (spec.get("template") or {}).get("spec") or {}
    return found


def deployment(obj: Plain) -> list[Any]:
    name, spec, status, old = _parts(obj)
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    return [name, ready, *counts, old, *containers(_template(spec)), selector(spec.get("selector"))]


def replica_set(obj: Plain) -> list[Any]:
    name, spec, status, old = _parts(obj)
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [name, *counts, old, *containers(_template(spec)), selector(spec.get("selector"))]


def stateful_set(obj: Plain) -> list[Any]:
    name, spec, status, old = _parts(obj)
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [name, ready, old, *containers(_template(spec))]


def daemon_set(obj: Plain) -> list[Any]:
    name, spec, status, old = _parts(obj)
    fields = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    pod = _template(spec)
    chosen = labels(pod.get("nodeSelector"))
    counts = [status.get(field, 0) for field in fields]
    return [name, *counts, chosen, old, *containers(pod), selector(spec.get("selector"))]


def job(obj: Plain) -> list[Any]:
    name, spec, status, old = _parts(obj)
    done, wanted, beside = status.get("succeeded", 0), spec.get("completions"), spec.get("parallelism", 0)
    if wanted is not None:
        completions = f"{done}/{wanted}"
    else:
        completions = f"{done}/1 of {beside}" if beside > 1 else f"{done}/1"
    seconds = seconds_since(status.get("startTime"), status.get("completionTime"))
    duration = "" if seconds is None else span(seconds)
    rest = [*containers(_template(spec)), selector(spec.get("selector"))]
    return [name, _job_state(obj, status), completions, duration, old, *rest]


def _job_state(obj: Plain, status: Plain) -> str:
    true = [each["type"] for each in status.get("conditions") or () if each.get("status") == "True"]
    state = next((each for each in _JOB_STATES if each in true), None)
    if state is None:
        return "Terminating" if "deletionTimestamp" in obj["metadata"] else "Running"
    return state
