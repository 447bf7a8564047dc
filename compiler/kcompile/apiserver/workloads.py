"""The defaults and the checks of Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs.

pkg/apis/apps/v1/defaults.go, pkg/apis/batch/v1/defaults.go, pkg/apis/apps/validation and their registries'
strategies; of the checks, those that a wrong manifest meets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .poddefaults import fill_template
from .status import Cause

__all__ = ["LASTING", "fill_workload", "initial_status", "workload_causes"]

Plain = dict[str, Any]
_PERCENT = "25%"
_DEFAULTS: dict[str, Plain] = {
    "Deployment": {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
    "ReplicaSet": {"replicas": 1},
    "StatefulSet": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    },
    "DaemonSet": {"revisionHistoryLimit": 10},
    "Job": {
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    },
}
_STRATEGIES: dict[str, tuple[str, Plain]] = {
    "Deployment": ("strategy", {"maxUnavailable": _PERCENT, "maxSurge": _PERCENT}),
    "StatefulSet": ("updateStrategy", {"partition": 0}),
    "DaemonSet": ("updateStrategy", {"maxUnavailable": 1, "maxSurge": 0}),
}
"""The field of the update strategy, and the values of a rolling update."""
_ZERO_STATUS: dict[str, Plain] = {
    "ReplicaSet": {"replicas": 0},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
}
LASTING = {
    **dict.fromkeys(("Deployment", "ReplicaSet", "DaemonSet"), ("selector",)),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy"),
    "Job": ("selector", "template", "completionMode"),
}
"""Fields of a spec that can't be changed."""
_JOB_POLICIES = ("Never", "OnFailure")


def initial_status(kind: str) -> Plain:
    """The status of a new workload."""
    return dict(_ZERO_STATUS.get(kind, {}))


def fill_workload(kind: str, obj: Plain) -> None:
    """Fill in the defaults of a workload whose fields have their types, in place.

    A Job's uid must be known: its selector is made of it.
    """
    spec = obj.get("spec")
    if spec is None:
        return
    for name, value in _DEFAULTS[kind].items():
        spec.setdefault(name, value)
    if kind in _STRATEGIES:
        _strategy(spec, *_STRATEGIES[kind])
    if (pod := (spec.get("template") or {}).get("spec")) is not None:
        fill_template(pod)
    if kind == "Job":
        _job(obj["metadata"], spec)


def _strategy(spec: Plain, field: str, rolling: Plain) -> None:
    strategy = spec.setdefault(field, {})
    strategy["type"] = strategy.get("type") or "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = rolling | strategy.get("rollingUpdate", {})


def _job(meta: Plain, spec: Plain) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    if spec.get("manualSelector") or spec.get("selector") or "template" not in spec:
        return
    uid, name = meta["uid"], meta.get("name", "")
    own = {"controller-uid": uid, "job-name": name}
    own |= {f"batch.kubernetes.io/{key}": value for key, value in own.items()}
    template = spec["template"].setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **own}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def workload_causes(kind: str, obj: Mapping[str, Any]) -> list[Cause]:
    """What is wrong with a workload whose fields have their types."""
    spec = obj.get("spec") or {}
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    causes = [] if kind == "Job" else list(_selector(kind, spec.get("selector"), template))
    for name in ("replicas", "parallelism", "completions", "backoffLimit"):
        if isinstance(number := spec.get(name), int) and number < 0:
            causes.append(_invalid(f"spec.{name}", number, "must be greater than or equal to 0"))
    where = "spec.template.spec"
    if not pod.get("containers"):
        causes.append(Cause("FieldValueRequired", "Required value", f"{where}.containers"))
    for field in ("containers", "initContainers"):
        causes += _containers(f"{where}.{field}", pod.get(field) or ())
    return causes + list(_restart_policy(kind, where, pod.get("restartPolicy")))


def _selector(kind: str, selector: Mapping[str, Any] | None, template: Mapping[str, Any]) -> Iterator[Cause]:
    if selector is None:
        yield Cause("FieldValueRequired", "Required value", "spec.selector")
        selector = {}
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield _invalid("spec.selector", {}, f"empty selector is invalid for {kind.lower()}")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not selector or (selector.get("matchLabels") or {}).items() - labels.items():
        message = "`selector` does not match template `labels`"
        yield _invalid("spec.template.metadata.labels", labels or None, message)


def _containers(where: str, containers: Any) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, container in enumerate(containers):
        name = container.get("name")
        if not name:
            yield Cause("FieldValueRequired", "Required value", f"{where}[{index}].name")
        elif name in seen:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{name}"', f"{where}[{index}].name")
        seen.add(name)
        if not container.get("image"):
            yield Cause("FieldValueRequired", "Required value", f"{where}[{index}].image")


def _restart_policy(kind: str, where: str, policy: Any) -> Iterator[Cause]:
    allowed = _JOB_POLICIES if kind == "Job" else ("Always",)
    if policy not in allowed:
        said = ", ".join(f'"{each}"' for each in allowed)
        message = f'Unsupported value: "{policy}": supported values: {said}'
        yield Cause("FieldValueNotSupported", message, f"{where}.restartPolicy")


def _invalid(field: str, value: Any, message: str) -> Cause:
    shown = json.dumps(value, separators=(",", ":"))
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {message}", field)
