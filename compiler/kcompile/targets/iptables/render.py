"""Changes as the text of iptables-restore --noflush, one script a family.

A commit swaps one table whole and is atomic; between two commits packets see one new table and one old one. So no commit
may leave a destination that has neither its DNAT nor its verdict, where a connection would start un-NATed and stay so:

    1. filter grows: new rules come in, old ones stay (a verdict beside a DNAT is harmless: the DNAT goes first);
    2. nat changes;
    3. filter shrinks: what is no longer wanted goes.

A step with nothing to do is left out, and filter alone needs no steps. Killed after any of them, the node forwards right for
both states, and the next apply sees the difference that remains.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...plan.diff import Change
from ..base import Key, Program

__all__ = ["render_program", "scripts"]


Edit = tuple[Key, Any, Any]


def scripts(changes: Iterable[Change]) -> dict[str, str]:
    """Family (``ip4``, ``ip6``) -> what its iptables-restore is to read. Families without changes are left out."""
    edits: dict[str, dict[str, list[Edit]]] = {}
    for change in changes:
        tables = edits.setdefault(change.key[1], {})
        tables.setdefault(change.key[2], []).append((change.key, change.old, change.new))
    return {family: _script(edits[family]) for family in sorted(edits)}


def render_program(program: Program) -> dict[str, str]:
    """The scripts that make `program` where nothing of ours is."""
    edits: dict[str, dict[str, list[Edit]]] = {}
    for key, value in program.items():
        edits.setdefault(key[1], {}).setdefault(key[2], []).append((key, None, value))
    return {family: _script(edits[family]) for family in sorted(edits)}


def _script(tables: dict[str, list[Edit]]) -> str:
    filters, nat = tables.get("filter", []), tables.get("nat", [])
    if not nat:
        return _section("filter", filters)
    grown = [(edit, _grown(*edit[1:])) for edit in filters]
    more = [(key, old, middle) for (key, old, _), middle in grown if middle != old]
    less = [(key, middle, new) for (key, _, new), middle in grown if middle != new]
    if more and less:
        # every chain once more, as iptables-restore --test forgets the first section's
        less = [(key, middle, new) for (key, _, new), middle in grown if key[0] == "chain" or middle != new]
    return _section("filter", more) + _section("nat", nat) + _section("filter", less)


def _grown(old: Any, new: Any) -> Any:
    """`old` and `new` at once: the new rules first, the old ones that have no place in them after."""
    if old is None or new is None:
        return new if old is None else old
    if not isinstance(new, tuple):
        return new
    wanted = set(new)
    rest = tuple(rule for rule in old if rule not in wanted)
    # rules that only go: stay as they are for now
    return old if len(rest) + len(new) == len(old) and not wanted.difference(old) else (*new, *rest)


def _section(table: str, edits: list[Edit]) -> str:
    """One table's part. A declared chain is emptied first; jumps come when their chains are there, chains go when they are free."""
    if not edits:
        return ""
    declared: list[str] = []
    rules: list[str] = []
    jumps: list[str] = []
    gone: list[str] = []
    for key, old, new in edits:
        if key[0] == "jump":
            jumps += _jump(key[3], key[4], old, new)
            continue
        name = key[3]
        declared.append(f":{name} - [0:0]\n")
        if new is None:
            gone.append(f"-X {name}\n")
        elif new:
            head = f"-A {name} "
            rules.append(head + f"\n{head}".join(new) + "\n")
    return "".join((f"*{table}\n", *declared, *rules, *jumps, *gone, "COMMIT\n"))


def _jump(hook: str, rule: str, old: Any, new: Any) -> list[str]:
    """A jump's value is empty, or how often it was found if more than once: then all go, and one comes back."""
    removed = [] if old is None else [f"-D {hook} {rule}\n"] * int(old or 1)
    return removed if new is None else [*removed, f"-I {hook} 1 {rule}\n"]
