"""A pod's status out of its containers' states, as the kubelet computes it. Pure.

pkg/kubelet/kubelet_pods.go (getPhase), pkg/kubelet/status/generate.go (conditions).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["ContainerState", "PodState", "phase", "pod_status", "timestamp"]

_ORDER = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
_Condition = tuple[bool, str, str]
_TRUE: _Condition = (True, "", "")


def timestamp(seconds: float) -> str:
    """Seconds of the epoch as metav1.Time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class ContainerState:
    """One container. `state`, `last`: as in a containerStatus; `restartable`: it isn't expected to end."""

    name: str
    image: str
    restartable: bool = True
    restarts: int = 0
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: dict[str, Any] = field(default_factory=dict)
    started: bool = False
    ready: bool = False
    container_id: str = ""
    image_id: str = ""

    @property
    def succeeded(self) -> bool:
        """True if it has ended with 0."""
        return bool("terminated" in self.state and self.state["terminated"]["exitCode"] == 0)

    @property
    def failed(self) -> bool:
        """True if it has ended otherwise."""
        return "terminated" in self.state and not self.succeeded

    def status(self) -> dict[str, Any]:
        """Its containerStatus."""
        found = {
            "image": self.image,
            "imageID": self.image_id,
            "lastState": self.last,
            "name": self.name,
            "ready": self.ready,
            "restartCount": self.restarts,
            "started": self.started,
            "state": self.state,
        }
        return {"containerID": self.container_id, **found} if self.container_id else found


@dataclass
class PodState:
    """A pod on its node; `started`: when the kubelet first saw it."""

    started: float
    init: list[ContainerState] = field(default_factory=list)
    containers: list[ContainerState] = field(default_factory=list)
    sandbox: bool = False
    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    reason: str = ""
    message: str = ""

    @property
    def initialized(self) -> bool:
        """True if every init container has ended well, or is a sidecar that has started."""
        return all(_initialized(each) for each in self.init)


def _initialized(each: ContainerState) -> bool:
    return each.started if each.restartable else each.succeeded


def phase(state: PodState, policy: str) -> str:
    """The pod's phase with this restartPolicy."""
    if policy == "Never" and any(each.failed for each in state.init if not each.restartable):
        return "Failed"
    started = any("waiting" not in each.state or each.last for each in state.containers)
    if not state.initialized and not started:
        return "Pending"
    running = waiting = stopped = succeeded = 0
    for each in state.containers:
        if "running" in each.state:
            running += 1
        elif "terminated" in each.state or each.last:
            stopped += 1
            succeeded += each.succeeded
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running or policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _named(states: Iterable[ContainerState]) -> str:
    return f"[{' '.join(each.name for each in states)}]"


def _conditions(
    state: PodState, phase_: str, gates: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, _Condition]:
    incomplete = [each for each in state.init if not _initialized(each)]
    sidecars = [each for each in state.init if each.restartable]
    unready = [each for each in (*sidecars, *state.containers) if not each.ready]
    initialized = containers = _TRUE
    if incomplete:
        message = f"containers with incomplete status: {_named(incomplete)}"
        initialized = (False, "ContainersNotInitialized", message)
    if phase_ == "Succeeded":
        initialized, containers = (True, "PodCompleted", ""), (False, "PodCompleted", "")
    elif phase_ == "Failed":
        containers = (False, "PodFailed", "")
    elif unready:
        containers = (False, "ContainersNotReady", f"containers with unready status: {_named(unready)}")
    ready = containers
    missing = [gate for gate in gates if (given.get(gate) or {}).get("status") != "True"]
    if containers[0] and missing:
        texts = [_gate_problem(gate, given.get(gate)) for gate in missing]
        ready = (False, "ReadinessGatesNotReady", ", ".join(texts))
    return {
        "PodReadyToStartContainers": (state.sandbox, "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": containers,
        "PodScheduled": _TRUE,
    }


def _gate_problem(gate: str, given: Mapping[str, Any] | None) -> str:
    if given is None:
        return f'corresponding condition of pod readiness gate "{gate}" does not exist.'
    return f'the status of pod readiness gate "{gate}" is not "True", but {given.get("status")}'


def pod_status(pod: Mapping[str, Any], state: PodState, now: float) -> dict[str, Any]:
    """The whole status of `pod`: what others have written to it (conditions, qosClass) is kept."""
    old, spec = pod.get("status") or {}, pod["spec"]
    policy = spec.get("restartPolicy") or "Always"
    given = {each["type"]: each for each in old.get("conditions") or ()}
    gates = [each["conditionType"] for each in spec.get("readinessGates") or ()]
    reached = phase(state, policy)
    if state.reason and reached != "Succeeded":
        reached = "Failed"
    wanted = _conditions(state, reached, gates, given)
    generation = pod["metadata"].get("generation")
    conditions = [_condition(name, wanted[name], given.get(name), generation, now) for name in _ORDER]
    conditions += [each for name, each in given.items() if name not in wanted]
    found: dict[str, Any] = {
        "phase": reached,
        "conditions": conditions,
        "hostIP": next(iter(state.host_ips), ""),
        "hostIPs": [{"ip": ip} for ip in state.host_ips],
        "startTime": timestamp(state.started),
        "containerStatuses": [each.status() for each in state.containers],
    }
    if state.pod_ips:
        found |= {"podIP": state.pod_ips[0], "podIPs": [{"ip": ip} for ip in state.pod_ips]}
    if state.init:
        found["initContainerStatuses"] = [each.status() for each in state.init]
    if state.reason:
        found |= {"reason": state.reason, "message": state.message}
    if generation:
        found["observedGeneration"] = generation
    return {"qosClass": old["qosClass"], **found} if "qosClass" in old else found


def _condition(
    name: str, wanted: _Condition, old: Mapping[str, Any] | None, generation: int | None, now: float
) -> dict[str, Any]:
    good, reason, message = wanted
    status = "True" if good else "False"
    same = old is not None and old.get("status") == status
    since = old.get("lastTransitionTime") if same and old else None
    found: dict[str, Any] = {
        "lastProbeTime": None,
        "lastTransitionTime": since or timestamp(now),
        "status": status,
        "type": name,
    }
    more = {"message": message, "observedGeneration": generation, "reason": reason}
    return found | {key: value for key, value in more.items() if value}
