"""The rules of one table, kept up to date port by port.

A port's own rules (a Piece) depend on the port and its family's context alone. What ports share is a table's
trees: each has the leaves of many ports, or addresses that many ports name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ...ir.model import ResolvedPort
from .context import Chains, Context, Leaf
from .tree import LEAF, Tree

__all__ = ["Changed", "Layout", "Piece", "Table"]

Changed = dict[str, tuple[str, ...] | None]
"""Chains by name, those that are gone as None. Some may be as they were."""


class Piece(NamedTuple):
    """`leaves`: each with the root chain of its tree. `chains`: whole chains, which no other port has.
    `members`: addresses of the port, for the tree in which ports share the leaf of an address.
    """

    leaves: Sequence[tuple[str, Leaf]]
    chains: Chains | None = None
    members: Sequence[str] = ()


class Layout(Protocol):
    """What is special to one table.

    `labels`: the root chain of each tree of leaves, and the label of the chains below it. `members`: the root
    of the tree of addresses.
    """

    name: str
    context: Context
    labels: Mapping[str, str]
    members: str

    def piece(self, port: ResolvedPort) -> Piece:
        """What `port` adds to the table."""

    def trees(self) -> dict[str, Tree]:
        """Every tree, empty, by its root chain."""

    def member(self, address: str) -> tuple[str, ...]:
        """The rules of one of the addresses."""

    def entries(self, roots: Mapping[str, tuple[str, ...]]) -> Chains:
        """The chains that packets enter by, in order, the roots among them; `roots`: the rules of the trees
        that aren't empty.
        """


class Table:
    """A table of one family, empty at first. `entries`: the chains that packets enter by."""

    def __init__(self, layout: Layout) -> None:
        self.entries: Chains = {}
        self.layout = layout
        self._trees = layout.trees()
        self._members: Counter[int] = Counter()  # how many ports name an address
        # by root, then by address (in a tree without addresses by port), then by port
        self._leaves: dict[str, dict[int, dict[int, tuple[str, ...]]]] = defaultdict(dict)
        self._branches: dict[tuple[str, int], Chains] = {}  # trees over the ports of one address

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> Changed:
        """Put the rules of the ports `new` in the place of those of `old`; entry chains come first."""
        changed: Changed = {}
        touched: dict[str, set[int]] = defaultdict(set)
        for port in old:
            self._remove(self.layout.piece(port), changed, touched)
        for port in new:
            self._add(self.layout.piece(port), changed, touched)
        for root, tree in self._trees.items():
            if root in touched:
                items = {place: self._item(root, place, changed) for place in sorted(touched[root])}
                changed.update([(name, tree.chains.get(name)) for name in tree.update(items)])
        return self._enter() | changed

    def _remove(self, piece: Piece, changed: Changed, touched: dict[str, set[int]]) -> None:
        for root, (number, key, _) in piece.leaves:
            place = number or key
            del self._leaves[root][place][key]
            touched[root].add(place)
        changed.update(dict.fromkeys(piece.chains or ()))
        for address in piece.members:
            number = self.layout.context.spelling.number(address)
            self._members[number] -= 1
            touched[self.layout.members].add(number)

    def _add(self, piece: Piece, changed: Changed, touched: dict[str, set[int]]) -> None:
        for root, (number, key, rules) in piece.leaves:
            place = number or key
            self._leaves[root].setdefault(place, {})[key] = rules
            touched[root].add(place)
        changed.update(piece.chains or ())
        for address in piece.members:
            number = self.layout.context.spelling.number(address)
            self._members[number] += 1
            touched[self.layout.members].add(number)

    def _item(self, root: str, place: int, changed: Changed) -> Sequence[str] | None:
        """The rules under one key of a tree; None where it has none any more."""
        context = self.layout.context
        if root == self.layout.members:
            if self._members[place]:
                return self.layout.member(context.spelling.address(place))
            del self._members[place]
            return None
        changed.update(dict.fromkeys(self._branches.pop((root, place), ())))
        leaves = self._leaves[root][place]
        if len(leaves) == 1:
            return next(iter(leaves.values()))
        if not leaves:
            del self._leaves[root][place]
            return None
        rules = [rule for key in sorted(leaves) for rule in leaves[key]]
        if len(rules) <= LEAF:
            return rules
        address = f"{context.spelling.address(place)}{context.spelling.host}"
        branch = context.port_tree(self.layout.labels[root], address)
        branch.update(leaves)
        self._branches[root, place] = branch.chains
        changed.update(branch.chains)
        return branch.root

    def _enter(self) -> Changed:
        """The entry chains, those that are gone as None."""
        before = self.entries
        self.entries = self.layout.entries(
            {root: tree.root for root, tree in self._trees.items() if len(tree)}
        )
        return self.entries | dict.fromkeys([name for name in before if name not in self.entries])
