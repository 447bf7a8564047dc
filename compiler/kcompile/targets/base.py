"""The protocol that every target follows, and FrontendView, what ``kcompile get`` shows of a Program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from ..ir.model import Dataplane
from ..program import Change, Key, Program

__all__ = ["FrontendView", "Target"]


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
    """

    name: str
    uses_conntrack: bool
    translates_in_nat: bool

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
