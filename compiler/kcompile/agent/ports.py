"""The ports of every Service, kept up to date Service by Service: objects in, ResolvedPorts out. Pure.

After any sequence of updates, `dataplane` is what `resolve` makes of all Services at once. An object that
can't be programmed leaves its Service with the ports of its last good objects.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from ..errors import SpecError
from ..ir.model import Dataplane, HealthCheck, Protocol, ResolvedPort, ServicePort
from ..ir.node import NodeFacts, Settings
from ..notices import Notice
from ..passes import Claims, Occupied, health_checks, resolve_port
from ..spec.check_endpoints import check_slice
from ..spec.check_service import check_service
from ..spec.convert import ports_of
from ..spec.gcpause import gc_paused
from ..spec.inventory import Inventory
from ..spec.legacy import leave_out_legacy
from .state import Given

__all__ = ["Changed", "Ports", "Surroundings"]


class Surroundings(NamedTuple):
    """What every port depends on. `families`: the IP versions that the node can program. `hosts`: see
    `without_occupied`; None where the mode binds no addresses.
    """

    node: NodeFacts
    settings: Settings
    families: frozenset[int]
    hosts: Mapping[str, str] | None = None


class Changed(NamedTuple):
    """What one update came to: the ports `new` in the place of `old`.

    `services`: those of these ports. `bad`: why the objects of a Service can't be programmed, by
    ``namespace/name``. `good`: the Services whose objects can, or that are gone.
    """

    old: tuple[ResolvedPort, ...]
    new: tuple[ResolvedPort, ...]
    services: frozenset[str]
    bad: Mapping[str, str]
    good: tuple[str, ...]
    notices: tuple[Notice, ...]


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """One Service: its `ports` as its objects say, each of them `resolved` alone, and `settled` among all."""

    ports: tuple[ServicePort, ...] = ()
    resolved: tuple[ResolvedPort, ...] = ()
    settled: tuple[ResolvedPort, ...] = ()


_NOTHING = _Entry()


class Ports:
    """Every Service's ports in the `surroundings` of one node."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        node, hosts = surroundings.node, surroundings.hosts
        self._entries: dict[str, _Entry] = {}
        self._claims = Claims()
        self._checks: dict[str, tuple[HealthCheck, ...]] = {}
        self._udp: set[str] = set()
        self._versions: Counter[int] = Counter()
        self._occupied = None if hosts is None else Occupied(hosts, {*node.addresses, *node.interfaces})

    # ---- what there is

    @property
    def versions(self) -> frozenset[int]:
        """The IP versions that ports have."""
        return frozenset(self._versions)

    @property
    def health_checks(self) -> tuple[HealthCheck, ...]:
        """Every healthCheckNodePort, by port and Service."""
        checks = (check for checks in self._checks.values() for check in checks)
        return tuple(sorted(checks, key=lambda c: (c.port, f"{c.namespace}/{c.service}")))

    @property
    def services(self) -> list[str]:
        """The ``namespace/name`` of each Service that has ports."""
        return list(self._entries)

    def of(self, service: str) -> tuple[ResolvedPort, ...]:
        """The ports of one Service."""
        return self._entries.get(service, _NOTHING).settled

    def dataplane(self) -> Dataplane:
        """All of it."""
        return self.plane(port for entry in self._entries.values() for port in entry.settled)

    def udp(self) -> Dataplane:
        """Only the UDP ports."""
        ports = (port for service in self._udp for port in self.of(service))
        return self.plane(port for port in ports if port.protocol is Protocol.UDP)

    def plane(self, ports: Iterable[ResolvedPort]) -> Dataplane:
        """A Dataplane with only these ports."""
        node, settings = self.surroundings.node, self.surroundings.settings
        return Dataplane(node, settings, tuple(sorted(ports, key=_place)), self.health_checks)

    # ---- changes

    def moved(self, surroundings: Surroundings) -> Ports:
        """The same Services in other surroundings."""
        moved = Ports(surroundings)
        moved._replace({name: entry.ports for name, entry in self._entries.items()})
        return moved

    @gc_paused()
    def update(self, services: Mapping[str, Given]) -> Changed:
        """Take in the objects of `services`, which are new, or have changed, or are gone."""
        bad: dict[str, str] = {}
        notices: list[Notice] = []
        wanted: dict[str, tuple[ServicePort, ...]] = {}
        for name, given in services.items():
            try:
                wanted[name] = _converted(given, notices)
            except SpecError as error:
                bad[name] = str(error)
        changed = self._replace(wanted)
        return changed._replace(bad=bad, good=tuple(wanted), notices=(*notices, *changed.notices))

    def _replace(self, wanted: Mapping[str, tuple[ServicePort, ...]]) -> Changed:
        """Put `wanted` in the place of what these Services have."""
        notices: list[Notice] = []
        before = {name: self._entries.get(name, _NOTHING) for name in wanted}
        ports = dict(wanted)
        if self._occupied is not None:
            old = [port for entry in before.values() for port in entry.ports]
            turned = self._occupied.replace(old, [port for each in wanted.values() for port in each])
            for name in turned - ports.keys():
                before[name] = self._entries[name]
                ports[name] = before[name].ports
        resolved = {name: self._resolved(each, notices) for name, each in ports.items()}
        names = self._claims.replace(
            [port for entry in before.values() for port in entry.resolved],
            [port for each in resolved.values() for port in each],
        )
        for name in {_service(port) for port in names} - ports.keys():
            before[name] = self._entries[name]
            ports[name], resolved[name] = before[name].ports, before[name].resolved
        for name, each in ports.items():
            self._keep(name, _Entry(each, resolved[name], self._settled(resolved[name], notices)))
        return self._difference(before, notices)

    def _resolved(self, ports: Iterable[ServicePort], notices: list[Notice]) -> tuple[ResolvedPort, ...]:
        node, settings, families, _ = self.surroundings
        found = []
        for port in ports:
            if port.family.value in families:
                free = port
                if self._occupied is not None:
                    free, warnings = self._occupied.free(port)
                    notices += warnings
                found.append(resolve_port(free, node, settings))
        return tuple(found)

    def _settled(self, resolved: tuple[ResolvedPort, ...], notices: list[Notice]) -> tuple[ResolvedPort, ...]:
        settled = []
        for port in resolved:
            own, warnings = self._claims.settle(port)
            settled.append(own)
            notices += warnings
        return resolved if settled == list(resolved) else tuple(settled)

    def _keep(self, name: str, entry: _Entry) -> None:
        if entry.ports:
            self._entries[name] = entry
        else:
            self._entries.pop(name, None)
        self._checks.pop(name, None)
        if checks := health_checks(entry.ports, self.surroundings.node.name):
            self._checks[name] = checks
        if any(port.protocol is Protocol.UDP for port in entry.settled):
            self._udp.add(name)
        else:
            self._udp.discard(name)

    def _difference(self, before: Mapping[str, _Entry], notices: Iterable[Notice]) -> Changed:
        old: list[ResolvedPort] = []
        new: list[ResolvedPort] = []
        services: set[str] = set()
        for name, entry in before.items():
            past = {_place(port): port for port in entry.settled}
            now = {_place(port): port for port in self.of(name)}
            gone = [port for place, port in past.items() if now.get(place) != port]
            come = [port for place, port in now.items() if past.get(place) != port]
            if gone or come:
                services.add(name)
                old += gone
                new += come
        self._versions.subtract(port.family.value for port in old)
        self._versions.update(port.family.value for port in new)
        self._versions = +self._versions
        old.sort(key=_place)
        new.sort(key=_place)
        return Changed(tuple(old), tuple(new), frozenset(services), {}, (), tuple(dict.fromkeys(notices)))


def _converted(given: Given, notices: list[Notice]) -> tuple[ServicePort, ...]:
    """The ports of one Service's objects; adds warnings to `notices`. Raises SpecError."""
    service, slices = given
    if service is None:
        return ()
    try:
        return _checked(given)
    except SpecError:
        # what an old API server let in is left out of copies: the objects are the state's
        inventory = Inventory(services=[copy.deepcopy(service)], endpoint_slices=copy.deepcopy(list(slices)))
        found = leave_out_legacy(inventory)
        if not found:
            raise
        notices += found
        return _checked(Given(next(iter(inventory.services), None), tuple(inventory.endpoint_slices)))


def _checked(given: Given) -> tuple[ServicePort, ...]:
    service, slices = given
    if service is None:
        return ()
    check_service(service)
    for item in slices:
        check_slice(item)
    return tuple(ports_of(service, slices))


def _place(port: ResolvedPort) -> tuple[str, str, int]:
    return port.name, port.protocol.value, port.family.value


def _service(name: str) -> str:
    """The Service of a port's name."""
    return name.partition(":")[0]
