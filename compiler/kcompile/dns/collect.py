"""Objects of a source as the records that they make, owner by owner.

What an object changes is made anew for the Services that it concerns, and nothing else is.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from ..agent.source import Kind
from ..errors import KcompileError
from ..spec.allocate import DEFAULT_SERVICE_CIDRS
from ..spec.cluster import ClusterSettings
from ..spec.inventory import Inventory
from ..spec.objects import EndpointSlice, Node, Object, Pod, Service, ServiceCIDR
from ..spec.wellknown import SERVICE_LABEL
from .records import APEX, DNS_SERVICE, Maker, Names
from .reverse import Reverse
from .zones import Zones

__all__ = ["Change", "Collector", "Wanted", "collected"]

_Name = tuple[str, str]


class Wanted(NamedTuple):
    """What records to make. `servers`: addresses of the name server; without any, those of the Service
    kube-system/kube-dns, or `listens`, or the one that kubeadm gives it: the tenth of the Services' range.
    """

    settings: ClusterSettings
    ttl: int
    servers: tuple[str, ...] = ()
    listens: tuple[str, ...] = ()

    @property
    def domain(self) -> str:
        """The cluster's, absolute."""
        return self.settings.domain.strip(".").lower() + "."


class Change(NamedTuple):
    """The records of an owner, from now on; None: it has none any more."""

    owner: str
    names: Names | None


class Collector:
    """A Sink. `marked` is called when there is something for `changes` to give."""

    def __init__(
        self, kinds: Iterable[Kind], wanted: Wanted, marked: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self.failing: dict[str, str] = {}
        self._wanted, self._marked, self._tell = wanted, marked, tell
        self._missing = set(kinds)
        self._services: dict[_Name, Service] = {}
        self._slices: dict[_Name, EndpointSlice] = {}
        self._bound: dict[_Name, dict[_Name, EndpointSlice]] = {}  # by Service, then by the slice
        self._pods: dict[_Name, Pod] = {}
        self._cidrs: dict[str, tuple[str, ...]] = {}  # ranges of Services and Pods, by object
        self._dirty: dict[tuple[Kind, _Name], None] = {}
        self._is_whole = True
        self._given: dict[str, bytes] = {}  # owner -> digest of its records
        self._maker = Maker(wanted.domain, wanted.ttl)

    @property
    def ready(self) -> bool:
        """Whether every kind was listed once."""
        return not self._missing

    def changes(self) -> Iterator[Change]:
        """What differs from what was given before; nothing before all is listed."""
        if not self.ready:
            return
        if self._is_whole:
            self._is_whole = False
            self._maker = Maker(self._wanted.domain, self._wanted.ttl, Reverse(self._ranges()))
            self._dirty |= dict.fromkeys(("Service", name) for name in self._services)
            self._dirty |= dict.fromkeys(("Pod", name) for name in self._pods)
        dirty, self._dirty = self._dirty, {}
        yield from self._new(APEX, self._maker.apexes(self._servers()))
        for kind, name in dirty:
            yield from self._new(f"{kind} {name[0]}/{name[1]}", self._names(kind, name))

    def _names(self, kind: Kind, name: _Name) -> Names | None:
        """The records of an object; None for one that is gone, or can't be read."""
        try:
            if kind == "Pod":
                pod = self._pods.get(name)
                return self._maker.pod(pod) if pod is not None else None
            service = self._services.get(name)
            slices = self._bound.get(name, {}).values()
            return self._maker.service(service, slices) if service is not None else None
        except ValueError as error:
            self._tell(f"{kind} {name[0]}/{name[1]}: no records: {error}")
            return None

    def _new(self, owner: str, names: Names | None) -> Iterator[Change]:
        if not names:
            if self._given.pop(owner, None) is not None:
                yield Change(owner, None)
            return
        digest = hashlib.blake2b(msgspec.msgpack.encode(names), digest_size=16).digest()
        if self._given.get(owner) != digest:
            self._given[owner] = digest
            yield Change(owner, names)

    def _ranges(self) -> Iterator[str]:
        """The ranges of Services and Pods that are known."""
        settings = self._wanted.settings
        services = [*settings.service_cidrs, *self._ranges_of("ServiceCIDR")]
        yield from services or DEFAULT_SERVICE_CIDRS
        yield from settings.pod_cidrs
        yield from self._ranges_of("Node")

    def _ranges_of(self, kind: Kind) -> list[str]:
        found = [cidrs for name, cidrs in self._cidrs.items() if name.startswith(f"{kind} ")]
        return list(itertools.chain.from_iterable(found))

    def _servers(self) -> tuple[str, ...]:
        wanted = self._wanted
        service = self._services.get(DNS_SERVICE)
        if wanted.servers or service is None or service.spec.cluster_ip in (None, "None", ""):
            first = next(iter(self._ranges()))
            return wanted.servers or wanted.listens or (_tenth(first),)
        return tuple(service.spec.cluster_ips or [service.spec.cluster_ip or ""])

    # ---- the Sink

    def listed(
        self, kind: Kind, objects: Iterable[Object], unreadable: Iterable[tuple[str, str]] = ()
    ) -> None:
        """See `Sink`."""
        left = set(self._held(kind)) - set(unreadable)
        for item in objects:
            left.discard((item.metadata.namespace, item.metadata.name))
            self._put(kind, item)
        for namespace, name in left:
            self._remove(kind, (namespace, name))
        self._missing.discard(kind)
        self._marked()

    def put(self, kind: Kind, item: Object) -> None:
        """See `Sink`."""
        self._put(kind, item)
        self._marked()

    def gone(self, kind: Kind, namespace: str, name: str) -> None:
        """See `Sink`."""
        self._remove(kind, (namespace, name))
        self._marked()

    def bad(self, kind: Kind, namespace: str, name: str, error: KcompileError) -> None:
        """See `Sink`."""
        self._tell(f"still serving what was there before: {kind} {namespace}/{name}: {error}")

    def failed(self, kind: Kind, error: KcompileError) -> None:
        """See `Sink`."""
        if self.failing.get(kind) != str(error):
            self._tell(f"still serving what was there before: {error}" if self.ready else str(error))
        self.failing[kind] = str(error)
        self._marked()

    def recovered(self, kind: Kind) -> None:
        """See `Sink`."""
        self.failing.pop(kind, None)
        self._marked()

    def restarted(self, kind: Kind, /) -> None:
        """See `Sink`. It changes no record."""

    def _held(self, kind: Kind) -> Iterable[_Name]:
        if kind in ("Node", "ServiceCIDR"):
            return [("", name.partition(" ")[2]) for name in self._cidrs if name.startswith(f"{kind} ")]
        held: dict[Kind, Iterable[_Name]] = {
            "Service": self._services,
            "EndpointSlice": self._slices,
            "Pod": self._pods,
        }
        return held.get(kind, ())

    def _put(self, kind: Kind, item: Object) -> None:
        name = item.metadata.namespace, item.metadata.name
        if isinstance(item, EndpointSlice):
            self._put_slice(name, item)
        elif isinstance(item, Service):
            self._services[name] = item
            self._dirty[kind, name] = None
        elif isinstance(item, Pod):
            self._pods[name] = item
            self._dirty[kind, name] = None
        elif isinstance(item, Node):
            self._put_ranges(f"Node {name[1]}", _pod_ranges(item))
        elif isinstance(item, ServiceCIDR):
            self._put_ranges(f"ServiceCIDR {name[1]}", tuple(item.spec.cidrs))

    def _put_slice(self, name: _Name, item: EndpointSlice) -> None:
        self._remove("EndpointSlice", name)  # it may have been another Service's
        if service := (item.metadata.labels or {}).get(SERVICE_LABEL):
            key = item.metadata.namespace, service
            self._slices[name] = self._bound.setdefault(key, {})[name] = item
            self._dirty["Service", key] = None

    def _put_ranges(self, of: str, cidrs: tuple[str, ...]) -> None:
        if self._cidrs.get(of, ()) != cidrs:
            self._cidrs[of] = cidrs
            self._is_whole = True

    def _remove(self, kind: Kind, name: _Name) -> None:
        if kind == "EndpointSlice":
            if (item := self._slices.pop(name, None)) is not None:
                key = item.metadata.namespace, (item.metadata.labels or {})[SERVICE_LABEL]
                del self._bound[key][name]
                self._dirty["Service", key] = None
        elif kind == "Service":
            self._services.pop(name, None)
            self._dirty[kind, name] = None
        elif kind == "Pod":
            self._pods.pop(name, None)
            self._dirty[kind, name] = None
        else:
            self._put_ranges(f"{kind} {name[1]}", ())
            self._cidrs.pop(f"{kind} {name[1]}", None)


def collected(inventory: Inventory, wanted: Wanted, serial: int) -> Zones:
    """The records of `inventory`, which is complete: addresses allocated, EndpointSlices made."""
    collector = Collector((), wanted, lambda: None, lambda _: None)
    collector.listed("Node", inventory.nodes)
    collector.listed("ServiceCIDR", inventory.service_cidrs)
    collector.listed("EndpointSlice", inventory.endpoint_slices)
    collector.listed("Service", inventory.services)
    collector.listed("Pod", inventory.pods)
    zones = Zones(wanted.domain, wanted.ttl, serial)
    for change in collector.changes():
        zones.change(*change)
    return zones


def _pod_ranges(node: Node) -> tuple[str, ...]:
    if node.spec is None:
        return ()
    return tuple(node.spec.pod_cidrs or ([node.spec.pod_cidr] if node.spec.pod_cidr else []))


def _tenth(cidr: str) -> str:
    import ipaddress

    return str(ipaddress.ip_network(cidr, strict=False)[10])
