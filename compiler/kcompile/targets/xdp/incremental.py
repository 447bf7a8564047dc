"""A Program that is updated port by port, so that one changed Service costs the work for one Service.

Ports share nothing but the verdicts of their ClusterIPs. What belongs to no port comes with the first port,
and stays for open connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir.model import Dataplane, ResolvedPort
from ...program import Change, Key, Program
from ..base import Unchecked
from ..counted import Counted, PortId, port_id
from .lower import lower_node, lower_port, stands

__all__ = ["IncrementalProgram"]

_NODE: PortId = ("", "", 0)


class IncrementalProgram(Unchecked):
    """The Program of `dataplane`, kept up to date port by port: see Incremental in targets/base.py."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._counted = Counted()
        self._counted.replace({_NODE: lower_node(dataplane)} if stands(dataplane) else {})
        self.replace((), dataplane.ports)

    @property
    def program(self) -> Program:
        """See `Incremental`."""
        return self._counted.program

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """See `Incremental`."""
        parts: dict[PortId, dict[Key, Any]] = {port_id(port): {} for port in old}
        parts |= {port_id(port): lower_port(port, self._dataplane) for port in new}
        if parts and _NODE not in self._counted:
            parts[_NODE] = lower_node(self._dataplane)
        return tuple(self._counted.replace(parts))
