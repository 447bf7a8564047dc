"""Refuses an input without any Service: applying it would empty the node, and it is nearly always a mistake.

Every apply calls this first, unless the user allows an empty input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..errors import EmptyInputError
from .inventory import Inventory
from .text import printable

__all__ = ["require_services"]

_NAMED = 3


def require_services(inventory: Inventory) -> None:
    """Raise EmptyInputError where `inventory` has no Service: what was read, and which kinds were skipped."""
    if inventory.services:
        return
    parts = [f"read {_some([printable(source) for source in inventory.sources])}"]
    if inventory.skipped:
        kinds = Counter(skipped.kind for skipped in inventory.skipped)
        counted = [f"{count} {kind}" for kind, count in kinds.most_common()]
        parts.append(f"skipped {_some(counted)}")
    raise EmptyInputError(f"the input has no Service ({'; '.join(parts)})")


def _some(names: Sequence[str]) -> str:
    """The first few of `names`, and the number of the others."""
    shown = ", ".join(names[:_NAMED]) or "nothing"
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"
