"""The cells of kinds that make no Pods; each function is a printer of pkg/printers/internalversion."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, product
from typing import Any

from .text import NONE, UNKNOWN, age, first_of, joined, labels

__all__ = [
    "config_map",
    "endpoint_slice",
    "endpoints",
    "event",
    "namespace",
    "node",
    "revision",
    "secret",
    "service",
    "service_account",
    "service_cidr",
]

Plain = dict[str, Any]
_ROLE, _OLD_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"


def _name(obj: Plain) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Plain) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def namespace(obj: Plain) -> list[Any]:
    return [_name(obj), (obj.get("status") or {}).get("phase", ""), _age(obj)]


def node(obj: Plain) -> list[Any]:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    ready = next((each for each in status.get("conditions") or () if each.get("type") == "Ready"), None)
    shown = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec.get("unschedulable"):
        shown += ",SchedulingDisabled"
    info = status.get("nodeInfo") or {}
    addresses = [_address(status, kind) for kind in ("InternalIP", "ExternalIP")]
    system = [info.get(name) or UNKNOWN for name in ("osImage", "kernelVersion", "containerRuntimeVersion")]
    version = info.get("kubeletVersion", "")
    return [_name(obj), shown, joined(_roles(obj)), _age(obj), version, *addresses, *system]


def _address(status: Plain, kind: str) -> str:
    found = (each["address"] for each in status.get("addresses") or () if each.get("type") == kind)
    return next(found, NONE)


def _roles(obj: Plain) -> list[str]:
    found = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE) for key in found if key.startswith(_ROLE) and key != _ROLE}
    if old := found.get(_OLD_ROLE):
        roles.add(old)
    return sorted(roles)


def service(obj: Plain) -> list[Any]:
    spec = obj["spec"]
    own = (spec.get("clusterIPs") or [spec.get("clusterIP") or NONE])[0]
    ports = joined(_port(each) for each in spec.get("ports") or ())
    kind = spec.get("type", "")
    return [_name(obj), kind, own, _external(obj), ports, _age(obj), labels(spec.get("selector"))]


def _port(port: Plain) -> str:
    number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
    return f"{number}/{port.get('protocol', 'TCP')}"


def _external(obj: Plain) -> str:
    """getServiceExternalIP."""
    spec = obj["spec"]
    given = spec.get("externalIPs") or []
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case "LoadBalancer":
            balancer = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            reached = [each.get("ip") or each.get("hostname", "") for each in balancer]
            return joined([*reached, *given], "<pending>")
        case _:
            return joined(given)


def endpoints(obj: Plain) -> list[Any]:
    found = list(chain.from_iterable(map(_subset, obj.get("subsets") or ())))
    return [_name(obj), first_of(found), _age(obj)]


def _subset(subset: Plain) -> Iterable[str]:
    addresses = [each["ip"] for each in subset.get("addresses") or ()]
    ports = subset.get("ports") or ()
    if not ports:
        return addresses
    hosts = [f"[{each}]" if ":" in each else each for each in addresses]
    return [f"{host}:{port['port']}" for port, host in product(ports, hosts)]


def endpoint_slice(obj: Plain) -> list[Any]:
    ports = [str(each.get("port") or "*") for each in obj.get("ports") or ()]
    addresses = list(chain.from_iterable(each.get("addresses") or () for each in obj.get("endpoints") or ()))
    shown = first_of(ports, empty="<unset>")
    return [_name(obj), obj.get("addressType", ""), shown, first_of(addresses, empty="<unset>"), _age(obj)]


def config_map(obj: Plain) -> list[Any]:
    return [_name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), _age(obj)]


def secret(obj: Plain) -> list[Any]:
    return [_name(obj), obj.get("type", ""), len(obj.get("data") or ()), _age(obj)]


def service_account(obj: Plain) -> list[Any]:
    return [_name(obj), len(obj.get("secrets") or ()), _age(obj)]


def service_cidr(obj: Plain) -> list[Any]:
    return [_name(obj), joined((obj.get("spec") or {}).get("cidrs") or (), ""), _age(obj)]


def event(obj: Plain) -> list[Any]:
    about, series = obj.get("involvedObject") or {}, obj.get("series") or {}
    first = age(obj.get("firstTimestamp") or obj.get("eventTime"))
    last = age(obj["lastTimestamp"]) if obj.get("lastTimestamp") else first
    if series:
        last = age(series.get("lastObservedTime"))
    count = series.get("count") or obj.get("count") or 1
    kind, name = about.get("kind", "").lower(), about.get("name", "")
    source = obj.get("source") or {}
    reporter = (source.get("component") or obj.get("reportingComponent"), source.get("host"))
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        about.get("fieldPath", ""),
        ", ".join(each for each in reporter if each),
        obj.get("message", "").strip(),
        first,
        count,
        _name(obj),
    ]


def revision(obj: Plain) -> list[Any]:
    owners = obj["metadata"].get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    group = owner["apiVersion"].partition("/")[0] if owner else ""
    controller = f"{owner['kind'].lower()}.{group}/{owner['name']}" if owner else NONE
    return [_name(obj), controller, obj.get("revision", 0), _age(obj)]
