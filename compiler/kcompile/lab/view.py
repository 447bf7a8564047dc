"""What ``kcompile lab status`` shows: a tree for people, data for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..spec.inventory import Inventory
from ..spec.objects import Service
from ..spec.wellknown import SERVICE_LABEL
from .images import short_name
from .network import CLIENT
from .state import LabState, PodState

__all__ = ["PodView", "data", "tree"]


class PodView(msgspec.Struct):
    """What is found out of a Pod when it is asked for."""

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
    slices = [
        s
        for s in inventory.endpoint_slices
        if (s.metadata.namespace, (s.metadata.labels or {}).get(SERVICE_LABEL))
        == (service.metadata.namespace, service.metadata.name)
    ]
    found = [
        e
        for s in slices
        for e in s.endpoints or ()
        if e.conditions is None or e.conditions.ready is not False
    ]
    return {
        "namespace": service.metadata.namespace,
        "name": service.metadata.name,
        "type": spec.type,
        "clusterIPs": spec.cluster_ips or [spec.cluster_ip or spec.external_name],
        "ports": [f"{p.port}{f':{p.node_port}' if p.node_port else ''}/{p.protocol}" for p in spec.ports],
        "endpoints": [address for endpoint in found for address in endpoint.addresses],
    }


def tree(shown: dict[str, Any]) -> Iterator[str]:
    """The lab of `data` as lines."""
    yield f"lab {shown['name']}: mode {shown['mode']}, {shown['network']} between {len(shown['nodes'])} nodes, domain {shown['domain']}"
    branches: list[tuple[str, list[tuple[str, ...]]]] = []
    for node in shown["nodes"]:
        rows: list[tuple[str, ...]] = [
            (
                f"{p['namespace']}/{p['name']}",
                " ".join(p["addresses"]),
                p["state"],
                _count(p["restarts"], "restart") if p["restarts"] else "",
                ", ".join(p["images"]),
            )
            for p in node["pods"]
        ]
        branches.append(
            (f"node {node['name']}  {' '.join(node['addresses'])}  pods {' '.join(node['podCIDRs'])}", rows)
        )
    branches.append((f"client outside  {' '.join(shown['client'])}", []))
    services: list[tuple[str, ...]] = [
        (
            f"{s['namespace']}/{s['name']}",
            s["type"],
            " ".join(s["clusterIPs"]),
            " ".join(s["ports"]),
            _count(len(s["endpoints"]), "endpoint"),
        )
        for s in shown["services"]
    ]
    branches.append(("services", services))
    width = _widths([row for _, rows in branches[:-1] for row in rows])
    for number, (title, rows) in enumerate(branches):
        last = number == len(branches) - 1
        yield f"{'└' if last else '├'}─ {title}"
        widths = _widths(rows) if last else width
        for at, row in enumerate(rows):
            cells = "  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip()
            yield f"{' ' if last else '│'}  {'└' if at == len(rows) - 1 else '├'}─ {cells}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    return [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
