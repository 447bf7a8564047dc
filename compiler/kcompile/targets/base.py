"""What every target shares: a Program is a mapping of resource keys to immutable values.

A key is a tuple whose first item is the resource's kind; a value is a str, a tuple or a frozen struct that compares by
content. That is all `plan.diff` needs, so one diff, one plan and one set of property tests serve every target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..ir.model import Dataplane

__all__ = ["Key", "Program", "Target"]

Key = tuple[Any, ...]
Program = Mapping[Key, Any]


class Target(Protocol):
    """One kind of kernel program. Pure: the same dataplane lowers to the same Program, on any machine."""

    name: str

    def lower(self, dataplane: Dataplane) -> Program:
        """The whole Program that makes a node behave as `dataplane` says."""

    def render(self, changes: Any) -> str:
        """The text that makes `changes` true: what `plan` shows and what the kernel is given."""

    def describe(self, key: Key, value: Any) -> str:
        """One line for a person: the resource `key` with `value`, in the target tool's own spelling."""
