"""What a real server fills into a Pod's spec: pkg/apis/core/v1/defaults.go, and two admission plugins.

They work in place, on plain values whose types have been checked; a workload has such a spec in its template.
"""

from __future__ import annotations

from typing import Any

__all__ = ["fill_pod", "fill_template", "qos_class"]

Plain = dict[str, Any]
_MODE = 0o644
_MODED = ("configMap", "secret", "downwardAPI", "projected")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_EVICTED_AFTER = 300  # seconds on a node that isn't ready (the plugin DefaultTolerationSeconds)


def fill_pod(spec: Plain) -> None:
    """The defaults of a Pod: those of a template, and what admission gives to Pods alone."""
    fill_template(spec)
    if spec.get("hostNetwork"):
        for container in _containers(spec):
            for port in _each(container.get("ports")):
                port.setdefault("hostPort", port.get("containerPort"))
    for container in _containers(spec):
        resources = container["resources"]
        if (limits := resources.get("limits")) is not None:
            resources["requests"] = {**limits, **(resources.get("requests") or {})}
    tolerated = {(each.get("key"), each.get("effect")) for each in _each(spec.get("tolerations"))}
    for key in _NOT_READY:
        if not {(key, "NoExecute"), (key, None), (None, None)} & tolerated:
            toleration = {"key": key, "operator": "Exists", "effect": "NoExecute"}
            spec.setdefault("tolerations", []).append(toleration | {"tolerationSeconds": _EVICTED_AFTER})
    spec.setdefault("priority", 0)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def fill_template(spec: Plain) -> None:
    """SetDefaults_PodSpec, and the defaults of what is in it."""
    for container in _containers(spec):
        _container(container)
    for volume in _each(spec.get("volumes")):
        _volume(volume)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")


def qos_class(spec: Plain) -> str:
    """GetPodQOS: Guaranteed, Burstable or BestEffort."""
    resources = [container.get("resources") or {} for container in _containers(spec)]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    for each in resources:
        limits = each.get("limits") or {}
        if not {"cpu", "memory"} <= set(limits) or {**limits, **(each.get("requests") or {})} != limits:
            return "Burstable"
    return "Guaranteed"


def _container(container: Plain) -> None:
    for port in _each(container.get("ports")):
        port["protocol"] = port.get("protocol") or "TCP"
    for variable in _each(container.get("env")):
        if (reference := (variable.get("valueFrom") or {}).get("fieldRef")) is not None:
            reference.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if (probe := container.get(name)) is not None:
            _probe(probe)
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(str(container.get("image") or ""))


def _pull_policy(image: str) -> str:
    name, digest, _ = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2] or ("" if digest else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def _probe(probe: Plain) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1)):
        probe[name] = probe.get(name) or value
    probe["failureThreshold"] = probe.get("failureThreshold") or 3
    if (get := probe.get("httpGet")) is not None:
        get["path"] = get.get("path") or "/"
        get["scheme"] = get.get("scheme") or "HTTP"
    if (grpc := probe.get("grpc")) is not None:
        grpc.setdefault("service", "")


def _volume(volume: Plain) -> None:
    for name in _MODED:
        if (source := volume.get(name)) is not None:
            source.setdefault("defaultMode", _MODE)
    if (source := volume.get("hostPath")) is not None:
        source.setdefault("type", "")
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}


def _containers(spec: Plain) -> list[Plain]:
    return [*_each(spec.get("containers")), *_each(spec.get("initContainers"))]


def _each(value: list[Plain] | None) -> list[Plain]:
    return value or []
