"""What ``kcompile lab status`` shows: a tree for people, data for programs. Pure, over the API's objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..spec.wellknown import SERVICE_LABEL
from .images import short_name
from .network import CLIENT
from .settings import LabSettings

__all__ = ["data", "pod_state", "tree"]

Obj = Mapping[str, Any]


def data(
    settings: LabSettings,
    modes: Mapping[str, str],
    pods: Sequence[Obj],
    services: Iterable[Obj],
    slices: Sequence[Obj],
) -> dict[str, Any]:
    """The lab as plain data. `modes`: of each node now, which differ while the mode is changed."""
    there = {node.name for node in settings.nodes}
    return {
        "name": settings.name,
        "mode": settings.mode,
        "network": settings.network,
        "domain": settings.domain,
        "client": list(CLIENT[: 1 + settings.dual_stack]),
        "nodes": [
            {
                "name": node.name,
                "mode": modes.get(node.name, settings.mode),
                "addresses": node.ips,
                "podCIDRs": node.pod_cidrs,
                "pods": [_pod(pod) for pod in pods if pod["spec"].get("nodeName") == node.name],
            }
            for node in settings.nodes
        ],
        "pending": [_pod(pod) for pod in pods if pod["spec"].get("nodeName") not in there],
        "services": [_service(service, slices) for service in services],
    }


def _pod(pod: Obj) -> dict[str, Any]:
    status = pod.get("status") or {}
    return {
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "addresses": [each["ip"] for each in status.get("podIPs") or ()],
        "state": pod_state(pod),
        "restarts": sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ()),
        "images": [short_name(container["image"]) for container in pod["spec"]["containers"]],
    }


def pod_state(pod: Obj) -> str:
    """``ready``, ``not ready``, ``ended (STATUS)``, ``terminating``, or the reason that kubectl shows."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "terminating"
    containers = status.get("containerStatuses") or ()
    if status.get("phase") in ("Succeeded", "Failed"):
        codes = [(each.get("state") or {}).get("terminated", {}).get("exitCode", 0) for each in containers]
        return f"ended ({next((code for code in codes if code), 0)})"
    for each in [*(status.get("initContainerStatuses") or ()), *containers]:
        reason = ((each.get("state") or {}).get("waiting") or {}).get("reason")
        if reason:
            return str(reason)
    conditions = status.get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    if ready:
        return "ready"
    return "not ready" if status.get("phase") == "Running" else str(status.get("phase") or "Pending")


def _service(service: Obj, slices: Iterable[Obj]) -> dict[str, Any]:
    spec, meta = service["spec"], service["metadata"]
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    outside = [each["ip"] for each in ingress if each.get("ip")] + list(spec.get("externalIPs") or ())
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "type": spec.get("type", "ClusterIP"),
        "clusterIPs": spec.get("clusterIPs") or [spec.get("clusterIP") or spec.get("externalName", "")],
        "externalIPs": outside,
        "ports": [_port(port) for port in spec.get("ports") or ()],
        "endpoints": list(_ready_addresses(service, slices)),
    }


def _port(port: Obj) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _ready_addresses(service: Obj, slices: Iterable[Obj]) -> Iterator[str]:
    owner = (service["metadata"]["namespace"], service["metadata"]["name"])
    for each in slices:
        labels = each["metadata"].get("labels") or {}
        if (each["metadata"]["namespace"], labels.get(SERVICE_LABEL)) != owner:
            continue
        for endpoint in each.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                yield from endpoint["addresses"]


def tree(shown: Mapping[str, Any]) -> Iterator[str]:
    """The lab of `data` as lines."""
    network = f"{shown['network']} between {len(shown['nodes'])} nodes"
    yield f"lab {shown['name']}: mode {shown['mode']}, {network}, domain {shown['domain']}"
    branches: list[tuple[str, list[tuple[str, ...]]]] = []
    for node in shown["nodes"]:
        title = f"node {node['name']}  {' '.join(node['addresses'])}  pods {' '.join(node['podCIDRs'])}"
        if node["mode"] != shown["mode"]:
            title += f"  mode {node['mode']}"
        branches.append((title, [_pod_row(pod) for pod in node["pods"]]))
    if shown["pending"]:
        branches.append(("on no node", [_pod_row(pod) for pod in shown["pending"]]))
    branches.append((f"client outside  {' '.join(shown['client'])}", []))
    branches.append(("services", [_service_row(service) for service in shown["services"]]))
    width = _widths([row for _, rows in branches[:-1] for row in rows])
    for number, (title, rows) in enumerate(branches):
        last = number == len(branches) - 1
        yield f"{'└' if last else '├'}─ {title}"
        widths = _widths(rows) if last else width
        for at, row in enumerate(rows):
            cells = "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
            yield f"{' ' if last else '│'}  {'└' if at == len(rows) - 1 else '├'}─ {cells}"


def _pod_row(pod: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{pod['namespace']}/{pod['name']}",
        " ".join(pod["addresses"]),
        pod["state"],
        _count(pod["restarts"], "restart") if pod["restarts"] else "",
        ", ".join(pod["images"]),
    )


def _service_row(service: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{service['namespace']}/{service['name']}",
        service["type"],
        " ".join([*service["clusterIPs"], *service["externalIPs"]]),
        " ".join(service["ports"]),
        _count(len(service["endpoints"]), "endpoint"),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
