"""A Program that is updated port by port, so that one changed Service costs the work for one Service.

Ports share chains of their shape, hairpin pairs and ClusterIPs. So each resource has a count of its ports,
and is removed with the last one. Resources that belong to no port are lowered again only when the set of maps
in use changes.

Changes may come in any order: render.py makes one transaction of them that the kernel can take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from ...ir.model import Dataplane, ResolvedPort
from ...program import Change, Key, diff
from .lower import FAMILIES, lower_shared
from .ports import PortLowering
from .resources import ChainKey

__all__ = ["IncrementalProgram"]


class IncrementalProgram:
    """The Program of `dataplane`, kept up to date port by port: see Incremental in targets/base.py."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._users: Counter[Key] = Counter()  # how many ports need a resource
        self._map_users: Counter[tuple[str, str]] = Counter()  # and a map: (family, name)
        self._shared: dict[Key, Any] = {}
        self.program: dict[Key, Any] = {}
        self._update_shared()
        self.replace((), dataplane.ports)

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """Put the ports `new` in the place of `old`; returns the changes, in the form that the target
        renders.
        """
        users, values = self._users, dict[Key, Any]()
        maps_before = set(self._map_users)
        for port in old:
            for key in self._own(port, -1):
                users[key] -= 1
                values.setdefault(key, None)
        for port in new:
            for key, value in self._own(port, 1).items():
                users[key] += 1
                values[key] = value
        changes: list[Change] = []
        for key, value in values.items():
            if not users[key]:
                del users[key]
                changes.append(Change(key, self.program.pop(key), None))
            elif value is not None and (before := self.program.get(key)) != value:
                self.program[key] = value
                changes.append(Change(key, before, value))
        self._map_users = +self._map_users  # forgets those without users
        return (*changes, *(self._update_shared() if set(self._map_users) != maps_before else ()))

    def _own(self, port: ResolvedPort, sign: int) -> dict[Key, Any]:
        """What `port` alone needs. The maps that it uses gain (`sign` 1) or lose (-1) a user."""
        family = FAMILIES[port.family]
        own: dict[Key, Any] = {}
        lowering = PortLowering(self._dataplane.settings, family, own)
        lowering.port(port)
        for name in lowering.maps:
            self._map_users[(family, name)] += sign
        return own

    def _update_shared(self) -> tuple[Change, ...]:
        shared: dict[Key, Any] = {}
        for family in FAMILIES.values():
            shared.update(
                lower_shared(self._dataplane, family, {name for f, name in self._map_users if f == family})
            )
        changes = diff(self._shared, shared)
        for change in changes:
            if change.new is None:
                del self.program[change.key]
            else:
                self.program[change.key] = change.new
        self._shared = shared
        translating = {f.value for f, name in FAMILIES.items() if ChainKey(name, "postrouting") in shared}
        standing = translating.union(self._dataplane.standing)
        self._dataplane = msgspec.structs.replace(self._dataplane, standing=tuple(sorted(standing)))
        return changes
