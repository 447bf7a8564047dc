"""Changes as the text of iptables-restore --noflush, one script a family.

A commit replaces one table atomically; between two commits packets see one new table and one old one. So
after each commit every destination must have its DNAT or its verdict: a connection that starts un-NATed stays
so. Therefore:

    1. filter grows: new rules come in, old ones stay (a verdict does no harm: the DNAT is earlier);
    2. nat changes;
    3. filter shrinks: what is no longer wanted goes.

Two steps do when filter only grows or only shrinks, one when nat stays as it is. Killed after any of them,
the node serves what both states serve, and the next apply sees the difference that remains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...program import Change, Key, Program
from ..xtables.keys import ChainKey, JumpKey
from ..xtables.render import Edit, section
from .names import CHAIN_PREFIX

__all__ = ["render_program", "scripts"]

_GOTO, _JUMP = f" -g {CHAIN_PREFIX}", f" -j {CHAIN_PREFIX}"


def scripts(changes: Iterable[Change]) -> dict[str, str]:
    """Family (``ip4``, ``ip6``) -> what its iptables-restore is to read.

    Families without changes are left out.
    """
    edits: dict[str, dict[str, list[Edit]]] = {}
    for change in changes:
        _file(edits, change.key, change.old, change.new)
    return {family: _script(edits[family]) for family in sorted(edits)}


def render_program(program: Program) -> dict[str, str]:
    """The scripts that install `program` on a node without any rules of ours."""
    edits: dict[str, dict[str, list[Edit]]] = {}
    for key, value in program.items():
        _file(edits, key, None, value)
    return {family: _script(edits[family]) for family in sorted(edits)}


def _file(edits: dict[str, dict[str, list[Edit]]], key: Key, old: Any, new: Any) -> None:
    """Put an edit with the others of its family and table."""
    assert isinstance(key, ChainKey | JumpKey)
    edits.setdefault(key.family, {}).setdefault(key.table, []).append((key, old, new))


def _script(tables: dict[str, list[Edit]]) -> str:
    filters, nat = tables.get("filter", []), tables.get("nat", [])
    final = section("filter", filters)
    if not nat:
        return final
    comes = any(_gains(old, new) for _, old, new in filters)
    goes = any(_gains(new, old) for _, old, new in filters)
    if not (comes and goes):
        return section("nat", nat) + final if goes else final + section("nat", nat)
    grown = [(key, old, _grown(old, new)) for key, old, new in filters]
    # the last section declares every chain again: iptables-restore --test forgets those of the first
    shrunk = [(key, old, new) for key, old, new in filters if isinstance(key, ChainKey) or new is None]
    return (
        section("filter", [edit for edit in grown if edit[1] != edit[2]])
        + section("nat", nat)
        + section("filter", shrunk)
    )


def _gains(old: Any, new: Any) -> bool:
    """True when `new` has something that `old` hasn't."""
    if isinstance(old, tuple) and isinstance(new, tuple):
        return not set(old).issuperset(new)
    return new is not None and old != new


def _grown(old: Any, new: Any) -> Any:
    """The rules of `new`, then those of `old`.

    Gotos become jumps, so that a packet without a match in the new tree returns and passes the old one.
    """
    if not isinstance(old, tuple) or not isinstance(new, tuple):
        return old if new is None else new
    return tuple(rule.replace(_GOTO, _JUMP) for rule in dict.fromkeys((*new, *old)))
