"""A Program of which each port owns a part; parts may overlap.

Ports share addresses, set elements, chains. Such a resource stays as long as one port has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.model import ResolvedPort
from ..program import Change, Key

__all__ = ["Counted", "PortId", "port_id"]

PortId = tuple[str, str, int]
"""What tells a port of a Dataplane: its name, protocol (in lower case) and IP version.

They sort as the ports of a Dataplane do.
"""


def port_id(port: ResolvedPort) -> PortId:
    """The identity of `port`."""
    return port.name, port.protocol.lower, port.family.value


class Counted:
    """`program`: every resource that some port has. Two ports give a resource the same value."""

    def __init__(self) -> None:
        self.program: dict[Key, Any] = {}
        self._owned: dict[PortId, tuple[Key, ...]] = {}
        self._others: dict[Key, int] = {}  # how many ports share a resource beside its first

    def __contains__(self, port: PortId) -> bool:
        return port in self._owned

    def replace(self, parts: Mapping[PortId, Mapping[Key, Any]]) -> list[Change]:
        """Give each port of `parts` these resources in place of those that it had; none: it is gone.

        :return: the changes of `program`, removals first
        """
        before: dict[Key, Any] = {}
        left = [key for port in parts for key in self._owned.pop(port, ())]
        for port, part in parts.items():
            if part:
                self._owned[port] = tuple(part)
            for key, value in part.items():
                self._add(key, value, before)
        for key in left:
            self._remove(key, before)
        changes = [Change(key, old, self.program.get(key)) for key, old in before.items()]
        changes = [change for change in changes if change.old != change.new]
        return [*(c for c in changes if c.new is None), *(c for c in changes if c.new is not None)]

    def _add(self, key: Key, value: Any, before: dict[Key, Any]) -> None:
        held = self.program.get(key)
        if held is not None:
            self._others[key] = self._others.get(key, 0) + 1
        before.setdefault(key, held)
        self.program[key] = value

    def _remove(self, key: Key, before: dict[Key, Any]) -> None:
        before.setdefault(key, self.program[key])
        others = self._others.pop(key, 0)
        if not others:
            del self.program[key]
        elif others > 1:
            self._others[key] = others - 1
