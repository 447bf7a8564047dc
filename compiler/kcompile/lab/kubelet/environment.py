"""A container's environment variables, as the kubelet makes them (pkg/kubelet/kubelet_pods.go). Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .quantity import divided

__all__ = [
    "CreateError",
    "Facts",
    "Lookup",
    "contents",
    "environment",
    "expanded",
    "field",
    "resource_field",
    "service_variables",
]

Lookup = Callable[[str, str], "Mapping[str, Any] | None"]
"""The ConfigMap or Secret with this kind and name, in the pod's namespace."""

_REFERENCE = re.compile(r"\$\$|\$\(([^()]+)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class CreateError(Exception):
    """The container can't be created now (CreateContainerConfigError); the message is kubectl's to show."""


@dataclass(frozen=True)
class Facts:
    """What a pod's fields don't say: the node, its addresses and the pod's; `allocatable` of the node."""

    node: str
    host_ips: tuple[str, ...] = ()
    pod_ips: tuple[str, ...] = ()
    allocatable: tuple[tuple[str, str], ...] = (("cpu", "1"), ("memory", "1Gi"))


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """``$(NAME)`` replaced where NAME is known, ``$$`` a dollar (third_party/forked/golang/expansion)."""
    return _REFERENCE.sub(
        lambda match: "$" if match[0] == "$$" else environment.get(match[1], match[0]), text
    )


def contents(obj: Mapping[str, Any]) -> dict[str, bytes]:
    """The data of a ConfigMap or Secret, decoded."""
    if obj.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    found = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return found | binary


def service_variables(services: Iterable[Mapping[str, Any]], namespace: str, links: bool) -> dict[str, str]:
    """The variables of the Services: of `namespace` with `links` (enableServiceLinks), and of
    default/kubernetes always (pkg/kubelet/envvars).
    """
    found: dict[str, str] = {}
    for service in services:
        meta, spec = service["metadata"], service.get("spec") or {}
        is_api = (meta["namespace"], meta["name"]) == ("default", "kubernetes")
        address = spec.get("clusterIP") or "None"
        if address != "None" and spec.get("ports") and (is_api or (links and meta["namespace"] == namespace)):
            found |= _variables(meta["name"], address, spec["ports"])
    return found


def _variables(name: str, address: str, ports: list[Mapping[str, Any]]) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    first = ports[0]
    url = f"{first.get('protocol', 'TCP').lower()}://{host}:{first['port']}"
    found = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(first["port"]),
        f"{prefix}_PORT": url,
    }
    for port in ports:
        protocol = port.get("protocol", "TCP")
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        own = f"{prefix}_PORT_{port['port']}_{protocol}"
        found[own] = f"{protocol.lower()}://{host}:{port['port']}"
        found[f"{own}_PROTO"], found[f"{own}_PORT"] = protocol.lower(), str(port["port"])
        found[f"{own}_ADDR"] = address
    return found


def environment(
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    base: Mapping[str, str],
    lookup: Lookup,
    facts: Facts,
) -> dict[str, str]:
    """All variables of `container`; `base`: the image's and the Services'. Raises CreateError."""
    found = dict(base)
    for source in container.get("envFrom") or ():
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if ref := source.get(key):
                prefix = source.get("prefix", "")
                for name, data in _data(kind, ref, lookup).items():
                    found[prefix + name] = data.decode(errors="replace")
    for variable in container.get("env") or ():
        if source := variable.get("valueFrom"):
            value = _value(pod, container, source, lookup, facts)
            if value is not None:
                found[variable["name"]] = value
        else:
            found[variable["name"]] = expanded(variable.get("value") or "", found)
    return found


def _data(kind: str, ref: Mapping[str, Any], lookup: Lookup) -> dict[str, bytes]:
    obj = lookup(kind, ref.get("name", ""))
    if obj is None:
        if ref.get("optional"):
            return {}
        raise CreateError(f'{kind.lower()} "{ref.get("name", "")}" not found')
    return contents(obj)


def _value(
    pod: Mapping[str, Any],
    container: Mapping[str, Any],
    source: Mapping[str, Any],
    lookup: Lookup,
    facts: Facts,
) -> str | None:
    """The value of a variable with valueFrom; None for an optional one that isn't there."""
    if ref := source.get("fieldRef"):
        return field(pod, ref["fieldPath"], facts)
    if ref := source.get("resourceFieldRef"):
        return resource_field(pod, container, ref, facts)
    for kind, name in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if ref := source.get(name):
            data = _data(kind, ref, lookup)
            if ref["key"] in data:
                return data[ref["key"]].decode(errors="replace")
            if ref.get("optional"):
                return None
            namespace = pod["metadata"]["namespace"]
            raise CreateError(f"couldn't find key {ref['key']} in {kind} {namespace}/{ref.get('name', '')}")
    raise CreateError(f"valueFrom: a lab has no {', '.join(source) or 'source'}")


def field(pod: Mapping[str, Any], path: str, facts: Facts) -> str:
    """The value of a fieldRef (pkg/fieldpath). Raises CreateError for a path that there isn't."""
    meta, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = sorted((meta.get(path.partition(".")[2]) or {}).items())
        return "\n".join(f'{key}="{_escaped(value)}"' for key, value in pairs)
    values = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta.get("uid", ""),
        "spec.nodeName": facts.node,
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.hostIP": next(iter(facts.host_ips), ""),
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": next(iter(facts.pod_ips), ""),
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in values:
        raise CreateError(f"fieldPath {path}: unsupported fieldPath")
    return str(values[path])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(
    pod: Mapping[str, Any], container: Mapping[str, Any], ref: Mapping[str, Any], facts: Facts
) -> str:
    """The value of a resourceFieldRef, rounded up in units of its divisor (pkg/api/v1/resource); a limit that
    isn't set is the node's. Raises CreateError.
    """
    owner = container
    if name := ref.get("containerName"):
        spec = pod["spec"]
        every = [*(spec.get("initContainers") or ()), *spec["containers"]]
        owner = next((each for each in every if each["name"] == name), {})
    which, _, resource = ref["resource"].partition(".")
    amounts = (owner.get("resources") or {}).get(which) or {}
    default = dict(facts.allocatable).get(resource, "0") if which == "limits" else "0"
    try:
        return divided(str(amounts.get(resource, default)), str(ref.get("divisor") or "1"))
    except ValueError as error:
        raise CreateError(f"resourceFieldRef {ref['resource']}: {error}") from None
