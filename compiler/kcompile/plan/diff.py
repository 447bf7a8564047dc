"""The difference between two Programs, as typed changes. Generic: a target only says how a resource is written."""

from __future__ import annotations

from typing import Any

import msgspec

from ..targets.base import Key, Program

__all__ = ["Change", "apply_changes", "diff"]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One resource that must change: `old` None creates it, `new` None deletes it, both set updates it."""

    key: Key
    old: Any
    new: Any

    @property
    def action(self) -> str:
        """``create``, ``update`` or ``delete``."""
        return "create" if self.old is None else "delete" if self.new is None else "update"


def diff(observed: Program, desired: Program) -> tuple[Change, ...]:
    """What turns `observed` into `desired`: deletions in observed order, then creations and updates in desired order."""
    gone = [Change(key, old, None) for key, old in observed.items() if key not in desired]
    get = observed.get
    made = [Change(key, old, new) for key, new in desired.items() if (old := get(key)) != new]
    return (*gone, *made)


def apply_changes(program: Program, changes: tuple[Change, ...]) -> dict[Key, Any]:
    """`program` after `changes`, as a kernel that does as it is told would hold it."""
    after = dict(program)
    for change in changes:
        if change.new is None:
            after.pop(change.key, None)
        else:
            after[change.key] = change.new
    return after
