"""A Plan as people and programs read it. Text follows terraform's signs: + create, ~ update, - delete."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ..program import Change
from ..targets.base import FrontendView, Target
from ..targets.node import is_node_resource
from .plan import Plan, ServiceChange, describe

__all__ = ["SIGNS", "change_lines", "done_line", "plan_data", "plan_line", "service_lines"]

SIGNS = {"create": "+", "update": "~", "delete": "-"}


def plan_line(plan: Plan) -> str:
    """``Plan (MODE): N to add, N to change, N to remove.``, and which other modes' rules would go."""
    counts = plan.counts()
    text = f"{counts['create']} to add, {counts['update']} to change, {counts['delete']} to remove."
    others = f" The rules of {' and '.join(plan.other_modes)} will be removed." if plan.other_modes else ""
    return f"Plan ({plan.mode}): {text}{others}"


def done_line(verb: str, plan: Plan, seconds: float | None = None) -> str:
    """``VERB (MODE): N added, N changed, N removed in S s.``, and which other modes' rules went."""
    counts = plan.counts()
    text = f"{counts['create']} added, {counts['update']} changed, {counts['delete']} removed"
    time = "" if seconds is None else f" in {seconds:.2f} s"
    others = f" The rules of {' and '.join(plan.other_modes)} were removed." if plan.other_modes else ""
    return f"{verb} ({plan.mode}): {text}{time}.{others}"


def change_lines(target: Target, change: Change) -> list[str]:
    """The lines of one change: what is, behind ``-``, and what will be, behind ``+``; plain creations and
    deletions have one.
    """
    if change.action == "create":
        return ["+ " + describe(target, change)]
    if change.action == "delete":
        return ["- " + describe(target, change, new=False)]
    if is_node_resource(change.key) or not isinstance(change.new, tuple) or change.key.kind != "chain":
        return ["~ " + describe(target, change), "    was: " + describe(target, change, new=False)]
    lines = ["~ " + " ".join(str(part) for part in change.key.parts)]
    lines += [f"    - {rule}" for rule in change.old if rule not in change.new]
    return lines + [f"    + {rule}" for rule in change.new if rule not in change.old]


def service_lines(changes: list[ServiceChange], limit: int = 0) -> list[str]:
    """One line a frontend; after `limit` (0: none) only how many more there are."""
    lines = [_service_line(c) for c in (changes[:limit] if limit else changes)]
    if limit and len(changes) > limit:
        lines.append(f"  ... and {len(changes) - limit} more frontends")
    return lines


def _service_line(change: ServiceChange) -> str:
    view = change.new or change.old
    assert view is not None
    sign = "+" if change.old is None else "-" if change.new is None else "~"
    where = f"{sign} {view.service}  {view.kind} {_address(view)}/{view.protocol}"
    if change.old is None or change.new is None:
        return f"{where} -> {_outcome(view)}"
    return f"{where} -> {_outcome(change.new)}  (was {_outcome(change.old)})"


def _address(view: FrontendView) -> str:
    return f"[{view.address}]:{view.port}" if ":" in view.address else f"{view.address}:{view.port}"


def _outcome(view: FrontendView, most: int = 4) -> str:
    if view.verdict != "dnat":
        return view.verdict
    shown = ", ".join(view.backends[:most])
    return shown if len(view.backends) <= most else f"{shown} and {len(view.backends) - most} more"


def plan_data(plan: Plan, target: Target, with_script: bool = True) -> dict[str, Any]:
    """The plan as plain data for JSON and YAML."""
    data: dict[str, Any] = {
        "mode": plan.mode,
        "summary": plan.counts(),
        "removesModes": list(plan.other_modes),
        "warnings": [notice.data() for notice in plan.warnings],
        "changes": [
            {
                "action": change.action,
                "resource": [str(part) for part in change.key.parts],
                "old": _plain(change.old),
                "new": _plain(change.new),
                "text": describe(target, change, new=change.new is not None),
            }
            for change in plan.changes
        ],
    }
    if with_script:
        data["scripts"] = dict(target.scripts(plan.rules))
    return data


def _plain(value: Any) -> Any:
    return None if value is None else json.loads(msgspec.json.encode(value))
