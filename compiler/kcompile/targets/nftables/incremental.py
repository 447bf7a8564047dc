"""A Program that is updated port by port, so that one changed Service costs the work for one Service.

Ports share chains of their shape, hairpin pairs and ClusterIPs. So each of these has a count of its ports,
and is removed with the last one; all other elements are of one port. Resources that belong to no port are
lowered again only when the set of maps in use changes.

Changes may come in any order: render.py makes one transaction of them that the kernel can take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from ...ir.model import Dataplane, ResolvedPort
from ...program import Change, Key, diff
from ..base import Unchecked
from .lower import FAMILIES, lower_shared
from .ports import PortLowering
from .resources import ChainKey, ElementKey

__all__ = ["IncrementalProgram"]

_SHARED_ELEMENTS = frozenset(("hairpin", "cluster-ips"))


class IncrementalProgram(Unchecked):
    """The Program of `dataplane`, kept up to date port by port: see Incremental in targets/base.py."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._lowerings = {f: PortLowering(dataplane.settings, name, {}) for f, name in FAMILIES.items()}
        self._users: Counter[Key] = Counter()  # how many ports need a resource
        self._map_users: Counter[tuple[str, str]] = Counter()  # and a map: (family, name)
        self._shared: dict[Key, Any] = {}
        self.program: dict[Key, Any] = self._values((), dataplane.ports)
        self._update_shared()

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """Put the ports `new` in the place of `old`; returns the changes, in the form that the target
        renders.
        """
        program, changes = self.program, list[Change]()
        maps_before = set(self._map_users)
        for key, value in self._values(old, new).items():
            before = program.get(key)
            if value is None:
                changes.append(Change(key, program.pop(key), None))
            elif before != value:
                program[key] = value
                changes.append(Change(key, before, value))
        self._map_users = +self._map_users  # forgets those without users
        return (*changes, *(self._update_shared() if set(self._map_users) != maps_before else ()))

    def _values(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> dict[Key, Any]:
        """What the ports `new` need, and as None what nobody needs any more."""
        users, values = self._users, dict[Key, Any]()
        for port in old:
            for key in self._own(port, -1):
                values[key] = None
                if _is_counted(key):
                    users[key] -= 1
        for port in new:
            for key, value in self._own(port, 1).items():
                values[key] = value
                if _is_counted(key):
                    users[key] += 1
        for key in [key for key, value in values.items() if value is None and _is_counted(key)]:
            if users[key]:
                del values[key]
            else:
                del users[key]
        return values

    def _own(self, port: ResolvedPort, sign: int) -> dict[Key, Any]:
        """What `port` alone needs. The maps that it uses gain (`sign` 1) or lose (-1) a user."""
        lowering = self._lowerings[port.family]
        lowering.program, lowering.maps = {}, set()
        lowering.port(port)
        for name in lowering.maps:
            self._map_users[lowering.family, name] += sign
        return lowering.program

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


def _is_counted(key: Key) -> bool:
    return not isinstance(key, ElementKey) or key.map in _SHARED_ELEMENTS
