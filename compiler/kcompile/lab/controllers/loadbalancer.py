"""Addresses for Services of type LoadBalancer, from pools, as a cloud's controller gives them.

k8s.io/cloud-provider/controllers/service. What is given out is in the Services' status, and nowhere else: an
address is free again when its Service is gone. A Service with a loadBalancerClass is somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ..client import Client, Key, Obj
from .pods import is_terminating
from .writes import Tell, UpdateStatus, Write

__all__ = ["LoadBalancers", "decide"]

_Pool = IPv4Network | IPv6Network


class LoadBalancers:
    name = "service-controller"
    kinds = ("Service",)

    def __init__(self, client: Client, pools: Iterable[str]) -> None:
        self._client = client
        self._pools = [ip_network(pool) for pool in pools]

    def affected(self, _kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if new is not None and (_is_ours(new) or _addresses(new)):
            return [(new["metadata"]["namespace"], new["metadata"]["name"])]
        if old is None or not _addresses(old):
            return []
        waiting = [key for key, each in self._client.objects("Service").items() if _is_ours(each)]
        return [key for key in waiting if not _addresses(self._client.objects("Service")[key])]

    def decide(self, key: Key) -> list[Write]:
        service = self._client.get("Service", *key)
        if service is None or is_terminating(service):
            return []
        others = [each for each in self._client.objects("Service").values() if each is not service]
        return decide(service, {ip for each in others for ip in _addresses(each)}, self._pools)


def _is_ours(service: Obj) -> bool:
    spec = service["spec"]
    return bool(spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass"))


def _addresses(service: Obj) -> list[str]:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return [entry["ip"] for entry in balancer.get("ingress") or () if entry.get("ip")]


def decide(service: Obj, taken: set[str], pools: Sequence[_Pool]) -> list[Write]:
    """The addresses of `service`, one of each of its families; none if it is of another type now."""
    before = _addresses(service)
    if not _is_ours(service):
        is_lost = service["spec"].get("type") != "LoadBalancer" and bool(before)
        return [_with_addresses(service, [])] if is_lost else []
    wanted: list[str] = []
    for family in service["spec"].get("ipFamilies") or ["IPv4"]:
        own = [pool for pool in pools if f"IPv{pool.version}" == family]
        asked = [service["spec"].get("loadBalancerIP") or "", *before]
        address = _choice(asked, own, taken)
        if address is None:
            ranges = ", ".join(str(pool) for pool in own) or f"a pool of {family}"
            text = (
                f"Error syncing load balancer: failed to ensure load balancer: no address is left in {ranges}"
            )
            return [Tell(service, "Warning", "SyncLoadBalancerFailed", text)]
        wanted.append(address)
    if wanted == before:
        return []
    return [
        _with_addresses(service, wanted),
        Tell(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer"),
    ]


def _choice(asked: Iterable[str], pools: Sequence[_Pool], taken: set[str]) -> str | None:
    """The first of `asked` that is in a pool and free; else the first free address of a pool."""
    for each in filter(None, asked):
        if any(ip_address(each) in pool for pool in pools) and each not in taken:
            return each
    for pool in pools:
        for address in pool.hosts():
            if str(address) not in taken:
                return str(address)
    return None


def _with_addresses(service: Obj, addresses: Iterable[str]) -> Write:
    ingress = [{"ip": address, "ipMode": "VIP"} for address in addresses]
    status = {**(service.get("status") or {}), "loadBalancer": {"ingress": ingress} if ingress else {}}
    return UpdateStatus({**service, "status": status})
