"""The nftables target as one object (targets/base.py says what a target is)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir.model import Dataplane
from ...plan.diff import Change, diff
from ..base import FrontendView, Key, Program
from .lower import FAMILIES, lower
from .render import render
from .resources import TABLE, Chain, Map, Table
from .view import frontends

__all__ = ["NftablesTarget"]

_HAS_FIXED = frozenset(("table", "map", "chain"))


class NftablesTarget:
    """Lowers to nftables."""

    name = "nftables"

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        return tuple([family.value for family, name in FAMILIES.items() if ("chain", name, "postrouting") in observed])

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        """The generic diff, but for a family in which something has changed that can't be changed in place: its table is replaced.

        Only a table that another version of kcompile (or somebody else) wrote looks like that.
        """
        held = [(key[1], observed.get(key, value), value) for key, value in desired.items() if key[0] in _HAS_FIXED]
        replaced = {family for family, old, new in held if _fixed(old) != _fixed(new)}
        if not replaced:
            return diff(observed, desired)

        def kept(program: Program) -> Program:
            return {k: v for k, v in program.items() if k[1] not in replaced}

        gone = [Change(k, v, None) for k, v in observed.items() if k[1] in replaced]
        made = [Change(k, None, v) for k, v in desired.items() if k[1] in replaced]
        return (*gone, *made, *diff(kept(observed), kept(desired)))

    def scripts(self, changes: Iterable[Change]) -> dict[str, str]:
        """One transaction for both families, for ``nft -f``."""
        text = render(changes)
        return {"nft": text} if text else {}

    def describe(self, key: Key, value: Any) -> str:
        """`key` and `value` the way nft would list them, on one line."""
        kind, family = key[0], key[1]
        if kind == "element":
            data, comment = value
            text = f"element {family} {TABLE} {key[2]} {{ {key[3]}{' : ' + data if data else ''} }}"
            return f"{text}  # {comment}" if comment else text
        if kind == "chain":
            assert isinstance(value, Chain)
            hook = f" ({value.hook}, policy {value.policy})" if value.hook else ""
            return f"chain {family} {TABLE} {key[2]}{hook}: " + "; ".join(r.text or r.comment for r in value.rules)
        if kind == "object":
            return f"{key[2]} {family} {TABLE} {key[3]}"
        if kind == "map":
            assert isinstance(value, Map)
            return f"{'map' if value.data else 'set'} {family} {TABLE} {key[2]}"
        flags = f" (flags {', '.join(value.flags)})" if isinstance(value, Table) and value.flags else ""
        return f"table {family} {TABLE}{flags}"

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)


def _fixed(value: Any) -> Any:
    """What of a resource can't be changed in place: a map's definition, a base chain's hook and priority, a table's flags.

    The kernel takes no change of a table's flags beside one of its base chains (nft_table_pending_update() in nf_tables_api.c).
    """
    return value.hook if isinstance(value, Chain) else value
