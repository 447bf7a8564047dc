"""What ``kcompile lab status`` shows: a tree for people, data for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..spec.inventory import Inventory
from ..spec.objects import Service, ServicePort
from ..spec.wellknown import SERVICE_LABEL
from .images import short_name
from .network import CLIENT
from .state import LabState, PodState

__all__ = ["PodView", "data", "tree"]


class PodView(msgspec.Struct):
    """The state of a Pod now (``ready``, ``not ready``, ``ended (STATUS)``) and its containers' restarts."""

    state: str
    restarts: int


def data(state: LabState, inventory: Inventory, pods: Mapping[str, PodView]) -> dict[str, Any]:
    """The lab as plain data. `inventory` as published; `pods`: by key."""
    return {
        "name": state.name,
        "mode": state.mode,
        "network": state.network,
        "domain": state.domain,
        "client": list(CLIENT[: 1 + state.dual_stack]),
        "nodes": [
            {
                "name": node.name,
                "addresses": node.ips,
                "podCIDRs": node.pod_cidrs,
                "pods": [_pod(pod, pods[pod.key]) for pod in state.pods if pod.node == node.name],
            }
            for node in state.nodes
        ],
        "services": [_service(service, inventory) for service in inventory.services],
    }


def _pod(pod: PodState, view: PodView) -> dict[str, Any]:
    images = [short_name(container["image"]) for container in pod.manifest["spec"]["containers"]]
    return {
        "namespace": pod.namespace,
        "name": pod.name,
        "addresses": pod.ips,
        "state": view.state,
        "restarts": view.restarts,
        "images": images,
    }


def _service(service: Service, inventory: Inventory) -> dict[str, Any]:
    spec = service.spec
    return {
        "namespace": service.metadata.namespace,
        "name": service.metadata.name,
        "type": spec.type,
        "clusterIPs": spec.cluster_ips or [spec.cluster_ip or spec.external_name],
        "ports": [_port(port) for port in spec.ports],
        "endpoints": list(_ready_addresses(service, inventory)),
    }


def _port(port: ServicePort) -> str:
    node_port = f":{port.node_port}" if port.node_port else ""
    return f"{port.port}{node_port}/{port.protocol}"


def _ready_addresses(service: Service, inventory: Inventory) -> Iterator[str]:
    owner = (service.metadata.namespace, service.metadata.name)
    for each in inventory.endpoint_slices:
        labels = each.metadata.labels or {}
        if (each.metadata.namespace, labels.get(SERVICE_LABEL)) != owner:
            continue
        for endpoint in each.endpoints or ():
            if endpoint.conditions is None or endpoint.conditions.ready is not False:
                yield from endpoint.addresses


def tree(shown: dict[str, Any]) -> Iterator[str]:
    """The lab of `data` as lines."""
    network = f"{shown['network']} between {len(shown['nodes'])} nodes"
    yield f"lab {shown['name']}: mode {shown['mode']}, {network}, domain {shown['domain']}"
    branches: list[tuple[str, list[tuple[str, ...]]]] = []
    for node in shown["nodes"]:
        title = f"node {node['name']}  {' '.join(node['addresses'])}  pods {' '.join(node['podCIDRs'])}"
        branches.append((title, [_pod_row(pod) for pod in node["pods"]]))
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


def _pod_row(pod: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{pod['namespace']}/{pod['name']}",
        " ".join(pod["addresses"]),
        pod["state"],
        _count(pod["restarts"], "restart") if pod["restarts"] else "",
        ", ".join(pod["images"]),
    )


def _service_row(service: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{service['namespace']}/{service['name']}",
        service["type"],
        " ".join(service["clusterIPs"]),
        " ".join(service["ports"]),
        _count(len(service["endpoints"]), "endpoint"),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
