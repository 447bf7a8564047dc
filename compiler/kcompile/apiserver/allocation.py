"""What Services are allocated: clusterIPs, nodePorts and healthCheckNodePorts, by the rules of `spec`."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

from ..errors import AllocationError
from ..spec.allocate import allocate
from ..spec.claims import Claims
from ..spec.decode import typed
from ..spec.objects import Service
from ..spec.text import Wrong
from .collection import Collection

__all__ = ["Allocation", "keep_allocated"]

_RETIRED = 4096
"""So many clusterIPs of deleted Services aren't given out again while there are others, so that a Service
made again gets another: a real server takes one at random.
"""


class Allocation:
    """Knows what the stored Services hold: before each answer it reads what has changed in the collection."""

    def __init__(self, services: Collection, cidrs: Collection, node_port_range: tuple[int, int]) -> None:
        self._services, self._cidrs, self._node_ports = services, cidrs, node_port_range
        self._claims = Claims()
        self._held: dict[str, Service] = {}
        self._retired: deque[str] = deque(maxlen=_RETIRED)
        self._place = 0

    def fill(self, service: Service) -> None:
        """Give `service`, which is new or the next version of a stored one, what it lacks.

        The claims are as before then: what is stored in the end comes back as a change of the collection.

        :raises AllocationError: where another Service holds what it asks for, or none is left
        """
        self._catch_up()
        old = self._held.get(service.key)
        if old is not None:
            self._claims.release(old)
        try:
            allocate(
                [service],
                service_cidrs=self._networks(),
                node_port_range=self._node_ports,
                avoid=frozenset(self._retired),
                claims=self._claims,
            )
        finally:
            self._claims.release(service)
            if old is not None:
                self._claim(old)

    def _networks(self) -> list[str]:
        specs = [item.object().get("spec") or {} for item in self._cidrs.sorted_now()]
        return [cidr for spec in specs for cidr in spec.get("cidrs") or ()]

    def _catch_up(self) -> None:
        events = self._services.since(self._place)
        self._place = self._services.dropped + len(self._services.history)
        if events is None:
            self._claims, self._held = Claims(), {}
            for item in self._services.sorted_now():
                self._hold(item.key, item.object())
            return
        for event in events:
            if event.before is not None and (old := self._held.pop(event.before.key, None)) is not None:
                self._claims.release(old)
                if event.now is None:
                    self._retired.extend(old.spec.cluster_ips or ())
            if event.now is not None:
                self._hold(event.now.key, event.now.object())

    def _hold(self, key: str, obj: dict[str, Any]) -> None:
        with contextlib.suppress(Wrong):  # it was put, unchecked, and is no Service
            service = self._held[key] = typed(obj, Service)
            self._claim(service)

    def _claim(self, service: Service) -> None:
        with contextlib.suppress(
            AllocationError
        ):  # of two that were put with one address, the first holds it
            self._claims.take_all(service)


def keep_allocated(new: dict[str, Any], old: dict[str, Any]) -> None:
    """patchAllocatedValues and dropTypeDependentFields of pkg/registry/core/service, for two specs.

    What an update leaves out stays as it was; what it repeats although its new type has no use for it goes.
    """
    if _has_address(old) and not _has_address(new):
        _drop(("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"), new, old)
    elif _has_address(old):
        new["clusterIP"] = new.get("clusterIP") or old.get("clusterIP") or ""
        if new["clusterIP"] == old.get("clusterIP"):
            new["clusterIPs"] = new.get("clusterIPs") or old.get("clusterIPs") or []
    _keep_ports(new, old)
    if new.get("type") != "LoadBalancer":
        _drop(("healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"), new, old)
    elif _has_health_port(new) and _has_health_port(old):
        new["healthCheckNodePort"] = new.get("healthCheckNodePort") or old.get("healthCheckNodePort") or 0
    if not (_has_node_ports(new) or new.get("externalIPs")):
        _drop(("externalTrafficPolicy",), new, old)


def _keep_ports(new: dict[str, Any], old: dict[str, Any]) -> None:
    """The nodePort of a port is kept by the port's name."""
    if not _has_node_ports(old):
        return
    before = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports") or ()}
    for port in new.get("ports") or ():
        number = before.get(port.get("name", ""), 0)
        if not _has_node_ports(new) and port.get("nodePort") == number:
            port.pop("nodePort", None)
        elif _has_node_ports(new):
            port["nodePort"] = port.get("nodePort") or number


def _drop(fields: tuple[str, ...], new: dict[str, Any], old: dict[str, Any]) -> None:
    for field in fields:
        if new.get(field) == old.get(field):
            new.pop(field, None)


def _has_address(spec: dict[str, Any]) -> bool:
    return spec.get("type") != "ExternalName"


def _has_node_ports(spec: dict[str, Any]) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _has_health_port(spec: dict[str, Any]) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
