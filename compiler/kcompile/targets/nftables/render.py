"""Changes -> the text of one nft transaction, which the kernel takes whole or not at all (nft(8), ``nft
-f``).

The order matters twice: names must exist before they are used, and a big load is cheap only in statements of
some thousand elements with the backends before the dispatch (docs/reference/performance.md). A map that goes
is emptied first, so that its elements let go of chains and objects; what is left then goes in any order.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...program import Change
from .resources import TABLE, Chain, ChainKey, ElementKey, MapKey, ObjectKey, TableKey, family_of

__all__ = ["render"]

# Elements in one statement: nft slows down with much longer ones.
CHUNK = 2000


def render(changes: Iterable[Change]) -> str:
    """One transaction; an empty string where there is nothing to change."""
    changes = tuple(changes)
    gone = {c.key.family for c in changes if isinstance(c.key, TableKey) and c.new is None}
    tables: list[str] = [f"delete table {family} {TABLE}" for family in sorted(gone)]
    declared: list[str] = []
    rules: list[str] = []
    base: list[str] = []
    dropped: dict[tuple[str, str], list[str]] = {}
    added: dict[tuple[str, str], list[str]] = {}
    last: list[str] = []
    objects: list[str] = []
    without_map = {(c.key.family, c.key.name) for c in changes if isinstance(c.key, MapKey) and c.new is None}
    for change in changes:
        key, old, new = change.key, change.old, change.new
        family = family_of(key)
        if new is None and family in gone:  # whatever is in a table goes with it
            continue
        if isinstance(key, ElementKey):
            place = (family, key.map)
            if old is not None and place not in without_map:
                dropped.setdefault(place, []).append(key.key)
            if new is not None:
                data, comment = new
                text = key.key
                if comment:
                    text += f' comment "{comment}"'
                added.setdefault(place, []).append(f"{text} : {data}" if data else text)
        elif isinstance(key, ChainKey):
            _chain(family, key.name, old, new, declared, rules, base, last)
        elif isinstance(key, MapKey):
            if old is not None:
                noun = "map" if old.data else "set"
                rules.append(f"flush {noun} {family} {TABLE} {key.name}")
                last.append(f"delete {noun} {family} {TABLE} {key.name}")
            if new is not None:
                declared.append(new.write(family, key.name))
        elif isinstance(key, ObjectKey):
            objects.append(f"delete {key.noun} {family} {TABLE} {key.name}")
        else:
            tables.append(f"add table {family} {TABLE}")
    lines = [*tables, *declared, *rules]
    for (family, name), keys in dropped.items():
        lines += _elements("delete", family, name, keys)
    for place in sorted(added, key=lambda p: _load_order(p[1])):
        lines += _elements("add", *place, added[place])
    lines += base
    lines += last
    lines += objects
    return "\n".join(lines) + "\n" if lines else ""


def _chain(
    family: str,
    name: str,
    old: Chain | None,
    new: Chain | None,
    declared: list[str],
    rules: list[str],
    base: list[str],
    last: list[str],
) -> None:
    if new is None:
        # Emptied at once, so that it lets go of other chains and sets; deleted when nothing points to it any
        # more.
        rules.append(f"flush chain {family} {TABLE} {name}")
        last.append(f"delete chain {family} {TABLE} {name}")
        return
    if old is None:
        (base if new.hook else declared).append(new.declare(family, name))
    else:
        rules.append(f"flush chain {family} {TABLE} {name}")
        if old.policy != new.policy:
            base.append(new.declare(family, name))
    target = base if new.hook else rules
    target += [f"add rule {family} {TABLE} {name} {rule.write()}" for rule in new.rules]


def _load_order(name: str) -> bool:
    return name in ("frontends", "node-ports")


def _elements(verb: str, family: str, name: str, items: list[str]) -> list[str]:
    start = f"{verb} element {family} {TABLE} {name} {{ "
    return [start + ", ".join(items[i : i + CHUNK]) + " }" for i in range(0, len(items), CHUNK)]
