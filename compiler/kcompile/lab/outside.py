"""Routes of the fabric to load balancer and external addresses.

In a real cluster a cloud's load balancer does this, or a router that speaks BGP with the nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import KernelError
from ..spec.wellknown import SERVICE_LABEL
from . import netns

if TYPE_CHECKING:
    import logging

    from .client import Client
    from .settings import LabSettings

__all__ = ["Outside", "routes"]

_TOGETHER = 0.02  # seconds in which changes are taken together
_KINDS = ("Service", "EndpointSlice")

Routes = dict[str, tuple[str, ...]]
"""Address -> the addresses of the nodes that packets to it are shared among."""


class Outside:
    """Keeps the routes in the current network namespace, the fabric's."""

    def __init__(self, settings: LabSettings, client: Client, log: logging.Logger) -> None:
        self._client, self._log = client, log
        self._nodes = {node.name: node.ips for node in settings.nodes}
        self._routes: Routes = {}

    async def run(self) -> None:
        """Until cancelled; the routes stay then."""
        changed = asyncio.Event()
        stop = self._client.watch(_KINDS, lambda *_: changed.set())
        try:
            while True:
                await changed.wait()
                await asyncio.sleep(_TOGETHER)
                changed.clear()
                self._update()
        finally:
            stop()

    def _update(self) -> None:
        wanted = routes(self._client.objects("Service"), self._client.objects("EndpointSlice"), self._nodes)
        lines = list(_lines(self._routes, wanted))
        try:
            if lines:
                netns.batch(lines)
        except KernelError as error:
            self._log.error("routes to load balancer addresses: %s", error)
        self._routes = wanted


def routes(
    services: Mapping[Any, Mapping[str, Any]],
    slices: Mapping[Any, Mapping[str, Any]],
    nodes: Mapping[str, list[str]],
) -> Routes:
    """The routes that there are to be; with traffic policy Local only to nodes with ready endpoints."""
    found: Routes = {}
    for (namespace, name), service in services.items():
        addresses = list(_addresses(service))
        if not addresses:
            continue
        names = list(nodes)
        if service["spec"].get("externalTrafficPolicy") == "Local":
            names = [node for node in nodes if node in _serving_nodes(slices, namespace, name)]
        for address in addresses:
            ips = sum((nodes[node] for node in names), list[str]())
            found[address] = tuple([ip for ip in ips if (":" in ip) == (":" in address)])
    return {address: ips for address, ips in found.items() if ips}


def _addresses(service: Mapping[str, Any]) -> Iterator[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    yield from (each["ip"] for each in ingress if each.get("ip"))
    yield from service["spec"].get("externalIPs") or ()


def _serving_nodes(slices: Mapping[Any, Mapping[str, Any]], namespace: str, name: str) -> set[str]:
    found = set()
    for (where, _), piece in slices.items():
        labels = piece["metadata"].get("labels") or {}
        if where == namespace and labels.get(SERVICE_LABEL) == name:
            ready = [e for e in piece.get("endpoints") or () if _is_ready(e)]
            found.update([endpoint.get("nodeName", "") for endpoint in ready])
    return found


def _is_ready(endpoint: Mapping[str, Any]) -> bool:
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _lines(before: Routes, wanted: Routes) -> Iterator[str]:
    """Lines for ip(8) from one set of routes to the other."""
    for address, ips in wanted.items():
        if before.get(address) != ips:
            hops = " ".join(f"nexthop via {ip} dev fabric onlink" for ip in ips)
            yield f"route replace {_host(address)} {hops}"
    yield from (f"route del {_host(address)}" for address in before if address not in wanted)


def _host(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"
