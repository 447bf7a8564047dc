"""What a pod asks for and a lab hasn't, by name. Pure: it is said when a manifest is applied, once each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["unsupported"]

_POD = (
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "runtimeClassName",
    "ephemeralContainers",
    "resourceClaims",
)
_POD_SECURITY = ("seLinuxOptions", "seccompProfile", "appArmorProfile", "sysctls", "windowsOptions")
_SECURITY = ("capabilities", "privileged", "procMount", *_POD_SECURITY)
_VOLUMES = (
    "configMap",
    "secret",
    "downwardAPI",
    "projected",
    "emptyDir",
    "hostPath",
    "persistentVolumeClaim",
)
_CONTAINER = ("volumeDevices", "resizePolicy", "restartPolicyRules")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def unsupported(spec: Mapping[str, Any]) -> list[str]:
    """The fields of a PodSpec that have no effect in a lab, sorted, each once: ``volumes[].nfs (an empty
    folder)``.
    """
    return sorted({*_of_pod(spec), *_of_containers(spec)})


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in _POD if spec.get(name))
    yield from (f"securityContext.{name}" for name in _set(spec.get("securityContext"), _POD_SECURITY))
    for volume in spec.get("volumes") or ():
        sources = [key for key in volume if key != "name" and key not in _VOLUMES]
        yield from (f"volumes[].{source} (an empty folder)" for source in sources)
        if "persistentVolumeClaim" in volume:
            yield "volumes[].persistentVolumeClaim (a folder of the node)"


def _of_containers(spec: Mapping[str, Any]) -> Iterator[str]:
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        context = container.get("securityContext")
        yield from (f"containers[].securityContext.{name}" for name in _set(context, _SECURITY))
        for probe in _PROBES:
            if "grpc" in (container.get(probe) or {}):
                yield f"containers[].{probe}.grpc (always a success)"
        yield from (f"containers[].{name}" for name in _CONTAINER if container.get(name))
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield "containers[].ports[].hostPort"


def _set(context: Mapping[str, Any] | None, names: Iterable[str]) -> list[str]:
    return [name for name in names if (context or {}).get(name)]
