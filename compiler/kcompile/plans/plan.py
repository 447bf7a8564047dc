"""A Plan: everything one apply would do to a node, in the order it would do it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ..notices import Notice
from ..program import Change, Program, diff
from ..targets.base import FrontendView, Target
from ..targets.node import describe_node, is_node_resource

__all__ = ["Plan", "ServiceChange", "make_plan", "service_changes"]


class Plan(msgspec.Struct, frozen=True):
    """`rules`: changes of the mode's own resources; `node`: sysctls and health check ports.

    `other_modes` are modes whose rules are on the node and go once the new ones are in.
    """

    mode: str
    rules: tuple[Change, ...]
    node: tuple[Change, ...]
    other_modes: tuple[str, ...] = ()
    warnings: tuple[Notice, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.node + self.rules

    @property
    def empty(self) -> bool:
        """True when the node already is as it should be."""
        return not (self.rules or self.node or self.other_modes)

    def is_like(self, other: Plan) -> bool:
        """Whether both make the same changes, in whatever order the resources were found."""
        mine, others = ({change.key: change for change in plan.rules} for plan in (self, other))
        return mine == others and msgspec.structs.replace(self, rules=other.rules) == other

    def counts(self) -> dict[str, int]:
        """How many resources it would create, update and delete."""
        counts = {"create": 0, "update": 0, "delete": 0}
        for change in self.changes:
            counts[change.action] += 1
        return counts


def make_plan(
    target: Target,
    mode: str,
    observed: Program,
    desired: Program,
    node_observed: Program | None = None,
    node_desired: Program | None = None,
    other_modes: tuple[str, ...] = (),
    warnings: tuple[Notice, ...] = (),
) -> Plan:
    """What turns the observed programs into the desired ones."""
    rules = () if observed is desired else target.diff(observed, desired)
    node = diff(node_observed or {}, node_desired or {})
    return Plan(mode, rules, node, other_modes, warnings)


def describe(target: Target, change: Change, new: bool = True) -> str:
    """One line for the resource of `change` as it will be (`new`) or is."""
    value: Any = change.new if new else change.old
    return (
        describe_node(change.key, value)
        if is_node_resource(change.key)
        else target.describe(change.key, value)
    )


class ServiceChange(msgspec.Struct, frozen=True):
    """What becomes of one frontend: `old` None appears, `new` None goes."""

    old: FrontendView | None
    new: FrontendView | None


def service_changes(held: Iterable[FrontendView], wanted: Iterable[FrontendView]) -> list[ServiceChange]:
    """The difference in terms of Services: the frontends that appear, go, or change their backends."""

    def by_place(views: Iterable[FrontendView]) -> dict[tuple[Any, ...], FrontendView]:
        return {(v.service, v.family, v.kind, v.address, v.protocol, v.port): v for v in views}

    old, new = by_place(held), by_place(wanted)
    places = sorted({**old, **new})
    return [ServiceChange(old.get(p), new.get(p)) for p in places if old.get(p) != new.get(p)]
