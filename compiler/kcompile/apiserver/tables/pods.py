"""The cells of a Pod: printPod of pkg/printers/internalversion/printers.go."""

from __future__ import annotations

from typing import Any, NamedTuple

from .text import NONE, age

__all__ = ["pod"]

Plain = dict[str, Any]
_ENDED = ("Succeeded", "Failed")


class _Seen(NamedTuple):
    """What containers say: how many are ready and have restarted, when the last one ended, in which state."""

    ready: int
    restarts: int
    last: str
    state: str | None


def pod(obj: Plain) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    count = len(spec.get("containers") or ()) + len(_sidecars(spec))
    seen = _seen(spec, status)
    shown = str(seen.restarts)
    if seen.restarts and seen.last:
        shown += f" ({age(seen.last)} ago)"
    meta = obj["metadata"]
    state = _ending(meta, status) or seen.state or status.get("reason") or status.get("phase", "")
    gates = spec.get("readinessGates") or ()
    return [
        meta["name"],
        f"{seen.ready}/{count}",
        state,
        shown,
        age(meta.get("creationTimestamp")),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{sum(_is_true(status, each['conditionType']) for each in gates)}/{len(gates)}" if gates else NONE,
    ]


def _ending(meta: Plain, status: Plain) -> str | None:
    """What a Pod that is being deleted is shown as."""
    if "deletionTimestamp" not in meta:
        return None
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return None if status.get("phase") in _ENDED else "Terminating"


def _seen(spec: Plain, status: Plain) -> _Seen:
    first = _initial(spec, status)
    if first.state is not None and not _is_true(status, "Initialized"):
        return first
    sidecars = _sidecars(spec)
    beside = [each for each in status.get("initContainerStatuses") or () if each["name"] in sidecars]
    restarts, last = _restarts(beside)
    return _running(status, first.ready, restarts, last)


def _initial(spec: Plain, status: Plain) -> _Seen:
    """The init containers: the first that isn't done gives the state."""
    statuses = status.get("initContainerStatuses") or []
    sidecars, ready = _sidecars(spec), 0
    for place, each in enumerate(statuses):
        state = each.get("state") or {}
        ended, waiting = state.get("terminated"), (state.get("waiting") or {}).get("reason", "")
        if ended is not None and not ended.get("exitCode"):
            continue
        if each["name"] in sidecars and each.get("started"):
            ready += bool(each.get("ready"))
            continue
        if ended is not None:
            shown = _ended(ended)
        elif waiting and waiting != "PodInitializing":
            shown = waiting
        else:
            shown = f"{place}/{len(spec.get('initContainers') or ())}"
        return _Seen(ready, *_restarts(statuses[: place + 1]), f"Init:{shown}")
    return _Seen(ready, 0, "", None)


def _running(status: Plain, ready: int, restarts: int, last: str) -> _Seen:
    """The containers proper: the first with something to say gives the state."""
    statuses = status.get("containerStatuses") or []
    more, latest = _restarts(statuses)
    state, running = None, False
    for each in reversed(statuses):
        now = each.get("state") or {}
        if waiting := (now.get("waiting") or {}).get("reason"):
            state = waiting
        elif (ended := now.get("terminated")) is not None:
            state = _ended(ended)
        elif each.get("ready") and now.get("running") is not None:
            running = True
            ready += 1
    if state == "Completed" and running:
        state = "Running" if _is_true(status, "Ready") else "NotReady"
    return _Seen(ready, restarts + more, max(last, latest), state)


def _ended(terminated: Plain) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _restarts(statuses: list[Plain]) -> tuple[int, str]:
    """How often they have restarted, and when the last one ended before."""
    before = [(each.get("lastState") or {}).get("terminated") or {} for each in statuses]
    times = [each.get("finishedAt") or "" for each in before]
    return sum(each.get("restartCount", 0) for each in statuses), max(times, default="")


def _sidecars(spec: Plain) -> list[str]:
    """Init containers that go on running beside the others."""
    found = spec.get("initContainers") or ()
    return [each["name"] for each in found if each.get("restartPolicy") == "Always"]


def _is_true(status: Plain, kind: str) -> bool:
    conditions = status.get("conditions") or ()
    return any(each.get("type") == kind and each.get("status") == "True" for each in conditions)
