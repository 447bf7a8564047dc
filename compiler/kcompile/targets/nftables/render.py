"""Changes -> the text of one atomic nft transaction (nft(8), ``nft -f``).

The order matters twice. A name must exist before it is used; and a big load is fast only in statements of
some thousand elements, backends before dispatch (docs/reference/performance.md). A map to delete is flushed
first, so that its elements refer to no chain or object; then the order of deletions doesn't matter.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...program import Change
from .resources import (
    TABLE,
    Chain,
    ChainKey,
    Element,
    ElementKey,
    Map,
    MapKey,
    ObjectKey,
    TableKey,
    family_of,
)

__all__ = ["render"]

# Elements in one statement: nft slows down with much longer ones.
CHUNK = 2000


def render(changes: Iterable[Change]) -> str:
    """One transaction; an empty string where there is nothing to change."""
    transaction = _Transaction(tuple(changes))
    lines = transaction.lines()
    return "\n".join(lines) + "\n" if lines else ""


_Name = tuple[str, str]  # family and name of a map or set


class _Transaction:
    """The statements of one transaction, by the part of it that they belong to."""

    def __init__(self, changes: tuple[Change, ...]) -> None:
        removed = [change.key for change in changes if change.new is None]
        # whatever is in a table is deleted with it, and elements with their map
        self.gone_tables = {key.family for key in removed if isinstance(key, TableKey)}
        self.gone_maps = {(key.family, key.name) for key in removed if isinstance(key, MapKey)}
        self.tables = [f"delete table {family} {TABLE}" for family in sorted(self.gone_tables)]
        self.declared: list[str] = []  # maps, sets, regular chains
        self.rules: list[str] = []  # rules of regular chains; flushes
        self.dropped: dict[_Name, list[str]] = {}  # elements
        self.added: dict[_Name, list[str]] = {}
        self.base: list[str] = []  # base chains with their rules
        self.last: list[str] = []  # maps, sets, chains to delete
        self.objects: list[str] = []
        for change in changes:
            self._file(change)

    def lines(self) -> list[str]:
        lines = [*self.tables, *self.declared, *self.rules]
        for (family, name), keys in self.dropped.items():
            lines += _elements("delete", family, name, keys)
        for family, name in sorted(self.added, key=lambda key: _load_order(key[1])):
            lines += _elements("add", family, name, self.added[family, name])
        return [*lines, *self.base, *self.last, *self.objects]

    def _file(self, change: Change) -> None:
        family = family_of(change.key)
        if change.new is None and family in self.gone_tables:
            return
        match change.key:
            case ElementKey(map=name, key=element):
                self._element((family, name), element, change.old, change.new)
            case ChainKey(name=name):
                self._chain(family, name, change.old, change.new)
            case MapKey(name=name):
                self._map(family, name, change.old, change.new)
            case ObjectKey(noun=noun, name=name):
                self.objects.append(f"delete {noun} {family} {TABLE} {name}")
            case _:
                self.tables.append(f"add table {family} {TABLE}")

    def _element(self, home: _Name, element: str, old: Element | None, new: Element | None) -> None:
        if old is not None and home not in self.gone_maps:
            self.dropped.setdefault(home, []).append(element)
        if new is not None:
            data, comment = new
            text = f'{element} comment "{comment}"' if comment else element
            self.added.setdefault(home, []).append(f"{text} : {data}" if data else text)

    def _map(self, family: str, name: str, old: Map | None, new: Map | None) -> None:
        if old is not None:
            noun = "map" if old.data else "set"
            self.rules.append(f"flush {noun} {family} {TABLE} {name}")
            self.last.append(f"delete {noun} {family} {TABLE} {name}")
        if new is not None:
            self.declared.append(new.write(family, name))

    def _chain(self, family: str, name: str, old: Chain | None, new: Chain | None) -> None:
        if old is not None:
            # before anything is deleted: it then refers to no other chain or set
            self.rules.append(f"flush chain {family} {TABLE} {name}")
        if new is None:
            self.last.append(f"delete chain {family} {TABLE} {name}")
            return
        if old is None:
            (self.base if new.hook else self.declared).append(new.declare(family, name))
        elif old.policy != new.policy:
            self.base.append(new.declare(family, name))
        rules = self.base if new.hook else self.rules
        rules += [f"add rule {family} {TABLE} {name} {rule.write()}" for rule in new.rules]


def _load_order(name: str) -> bool:
    return name in ("frontends", "node-ports")


def _elements(verb: str, family: str, name: str, items: list[str]) -> list[str]:
    start = f"{verb} element {family} {TABLE} {name} {{ "
    return [start + ", ".join(items[i : i + CHUNK]) + " }" for i in range(0, len(items), CHUNK)]
