"""What every target shares: the protocol that each of them follows, and the view of a Program that people
get.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from ..ir.model import Dataplane
from ..program import Change, Key, Program

__all__ = ["FrontendView", "Target"]


class FrontendView(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One frontend as a Program (lowered, or read back from a kernel) programs it: what ``kcompile get``
    shows.

    `protocol` is in Kubernetes' spelling; `address` is ``*`` for a NodePort; `backends` are ``ip:port`` in
    slot order, those that an outside client may reach first; `verdict` is ``dnat``, ``reject`` or ``drop``.
    `draining` are real servers (mode ipvs) that keep only the connections they have; a frontend of which
    another mode has left no more has ``draining`` for its verdict.
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
    """One kind of kernel program. Pure: the same dataplane lowers to the same Program, on any machine.

    `uses_conntrack`: connections are translated by the kernel's conntrack, not by maps of the mode's own.
    `translates_in_nat`: by rules in its nat hooks, so that an entry without translation is one that no rule
    has seen.
    """

    name: str
    uses_conntrack: bool
    translates_in_nat: bool

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        """The whole Program that makes a node behave as `dataplane` says."""

    def standing(self, observed: Program) -> tuple[int, ...]:
        """The IP versions in which `observed` translates, or has translated, connections: see
        Dataplane.standing.
        """

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        """What turns `observed` into `desired`: the generic diff, unless the kernel can't do one of its
        changes.
        """

    def scripts(self, changes: Iterable[Change]) -> Mapping[str, str]:
        """The scripts that make `changes` true, each under the label of what takes it; empty where nothing
        changes.
        """

    def describe(self, key: Key, value: Any) -> str:
        """One line for a person: the resource `key` with `value`, in the target tool's own spelling."""

    def frontends(self, program: Program) -> list[FrontendView]:
        """What `program` serves, in a stable order."""
