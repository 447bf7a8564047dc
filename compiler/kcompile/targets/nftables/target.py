"""The nftables target as one object (targets/base.py says what a target is)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir.model import Dataplane
from ...program import Change, Key, Program, diff
from ..base import FrontendView
from .lower import FAMILIES, lower
from .render import render
from .resources import TABLE, Chain, ChainKey, ElementKey, MapKey, ObjectKey, Table, family_of
from .view import frontends

__all__ = ["NftablesTarget"]

_HAS_FIXED = frozenset(("table", "map", "chain"))


class NftablesTarget:
    """Lowers to nftables."""

    name = "nftables"
    uses_conntrack = True
    translates_in_nat = True
    stands_as_one = False

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        return tuple(
            [family.value for family, name in FAMILIES.items() if ChainKey(name, "postrouting") in observed]
        )

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        """The generic diff; a family's table is replaced if it needs a change that nft can't make in place.

        That is so only for a table of another version of kcompile, or one that others have changed.
        """
        held = [
            (family_of(key), observed.get(key, value), value)
            for key, value in desired.items()
            if key.kind in _HAS_FIXED
        ]
        replaced = {family for family, old, new in held if _fixed(old) != _fixed(new)}
        if not replaced:
            return diff(observed, desired)

        def kept(program: Program) -> Program:
            return {k: v for k, v in program.items() if family_of(k) not in replaced}

        gone = [Change(k, v, None) for k, v in observed.items() if family_of(k) in replaced]
        made = [Change(k, None, v) for k, v in desired.items() if family_of(k) in replaced]
        return (*gone, *made, *diff(kept(observed), kept(desired)))

    def scripts(self, changes: Iterable[Change]) -> dict[str, str]:
        """One transaction for both families, for ``nft -f``."""
        text = render(changes)
        return {"nft": text} if text else {}

    def describe(self, key: Key, value: Any) -> str:
        """`key` and `value` as nft lists them, on one line."""
        match key:
            case ElementKey(family, name, element):
                data, comment = value
                text = f"element {family} {TABLE} {name} {{ {element}{' : ' + data if data else ''} }}"
                return f"{text}  # {comment}" if comment else text
            case ChainKey(family, name):
                hook = f" ({value.hook}, policy {value.policy})" if value.hook else ""
                return f"chain {family} {TABLE} {name}{hook}: " + "; ".join(
                    r.text or r.comment for r in value.rules
                )
            case ObjectKey(family, noun, name):
                return f"{noun} {family} {TABLE} {name}"
            case MapKey(family, name):
                return f"{'map' if value.data else 'set'} {family} {TABLE} {name}"
        flags = f" (flags {', '.join(value.flags)})" if isinstance(value, Table) and value.flags else ""
        return f"table {family_of(key)} {TABLE}{flags}"

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)


def _fixed(value: Any) -> Any:
    """The part of a resource that can't be changed in place: a map's definition, a base chain's hook and
    priority, a table's flags.

    The kernel takes no change of a table's flags beside one of its base chains (nft_table_pending_update() in
    nf_tables_api.c).
    """
    return value.hook if isinstance(value, Chain) else value
