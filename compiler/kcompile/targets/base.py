"""The protocol that every target follows, and FrontendView, what ``kcompile get`` shows of a Program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from ..ir.model import Dataplane, HealthCheck, ResolvedPort
from ..program import Change, Key, Program
from .counted import port_id

__all__ = ["FrontendView", "Incremental", "Relowered", "Target", "Unchecked"]


class FrontendView(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One frontend of a Program, lowered or observed: a row of ``kcompile get``.

    `protocol`: in Kubernetes' spelling. `address`: ``*`` for a NodePort. `backends`: ``ip:port`` in slot
    order, those for outside clients first. `verdict`: ``dnat``, ``reject``, ``drop``, or ``draining`` where
    only draining servers are left of mode ipvs. `draining`: real servers (mode ipvs) that get no new
    connections. `affinity_seconds`: 0 without session affinity.
    """

    service: str
    kind: str
    family: int
    protocol: str
    address: str
    port: int
    verdict: str
    backends: tuple[str, ...] = ()
    affinity_seconds: int = 0
    draining: tuple[str, ...] = ()


class Target(Protocol):
    """One kind of kernel program. Pure: the same dataplane lowers to the same Program on any machine.

    `uses_conntrack`: conntrack translates connections, not maps of the mode. `translates_in_nat`: rules in
    the nat hooks do the first translation, so that a conntrack entry without NAT has passed no rule of ours.
    `stands_as_one`: what translates one IP version translates the other one too.
    """

    name: str
    uses_conntrack: bool
    translates_in_nat: bool
    stands_as_one: bool

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        """The whole Program of `dataplane`."""

    def standing(self, observed: Program) -> tuple[int, ...]:
        """The IP versions in which `observed` translates, or has translated, connections: see
        Dataplane.standing.
        """

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        """The changes from `observed` to `desired`, each of which the kernel can make."""

    def scripts(self, changes: Iterable[Change]) -> Mapping[str, str]:
        """The scripts for `changes`, by the tool (or step) that runs each; empty where nothing changes."""

    def describe(self, key: Key, value: Any) -> str:
        """The resource `key` with `value` on one line, as the mode's tool writes it."""

    def frontends(self, program: Program) -> list[FrontendView]:
        """The frontends of `program`, in a stable order."""


class Incremental(Protocol):
    """A Program that is kept up to date port by port, at the cost of the ports that change.

    The node and the settings are those of the dataplane that it was made of. What open connections need stays
    when the last port of their IP version goes (Dataplane.standing).
    """

    @property
    def program(self) -> Program:
        """What `Target.lower` makes of the ports and health checks as they are now."""

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """Put the ports `new` in the place of `old`.

        No frontend of the result is in two ports (passes/conflicts.py).

        :return: the changes of `program`, in an order in which the kernel can make them
        """

    def check(self, health_checks: Sequence[HealthCheck], /) -> tuple[Change, ...]:
        """Put `health_checks` in the place of those that there were; returns the changes likewise."""


class Unchecked:
    """The part of an Incremental whose mode has no rules for health checks."""

    def check(self, _health_checks: Sequence[HealthCheck], /) -> tuple[Change, ...]:
        """See `Incremental`."""
        return ()


class Relowered:
    """An Incremental for any target: it lowers everything again."""

    def __init__(self, target: Target, dataplane: Dataplane) -> None:
        self._target, self._dataplane = target, dataplane
        self._ports = {port_id(port): port for port in dataplane.ports}
        self.program: Program = target.lower(dataplane)

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """See `Incremental`."""
        for port in old:
            del self._ports[port_id(port)]
        self._ports.update({port_id(port): port for port in new})
        return self._lower()

    def check(self, health_checks: Sequence[HealthCheck], /) -> tuple[Change, ...]:
        """See `Incremental`."""
        self._dataplane = msgspec.structs.replace(self._dataplane, health_checks=tuple(health_checks))
        return self._lower()

    def _lower(self) -> tuple[Change, ...]:
        ports = tuple([self._ports[port] for port in sorted(self._ports)])
        standing = {*self._dataplane.standing, *self._target.standing(self.program)}
        self._dataplane = msgspec.structs.replace(self._dataplane, standing=tuple(sorted(standing)))
        after = self._target.lower(msgspec.structs.replace(self._dataplane, ports=ports))
        changes = self._target.diff(self.program, after)
        self.program = after
        return changes
