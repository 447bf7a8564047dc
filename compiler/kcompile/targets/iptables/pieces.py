"""The rules of one service port in a table, cached while the port stays the same object, and their sum.

A port's rules depend only on the port and its family's context, and the passes keep the objects of unchanged
ports. So when an agent lowers 10,000 ports after one change, the rules of one port are written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ...ir.model import ResolvedPort
from .context import Chains, Leaf

__all__ = ["Memo", "Piece", "Sum"]


class Piece(NamedTuple):
    """`leaves`: each with the root chain of its tree. `chains`: whole chains. `hairpins`: addresses of pods
    that may connect to themselves.
    """

    leaves: Sequence[tuple[str, Leaf]]
    chains: Chains | None = None
    hairpins: Sequence[str] = ()


class Sum(NamedTuple):
    """The pieces of all ports of one family in one table, in the ports' order."""

    trees: dict[str, list[Leaf]]
    chains: Chains
    hairpins: set[str]


class Memo:
    """The pieces of the ports that were summed last."""

    def __init__(self) -> None:
        self._pieces: dict[int, tuple[ResolvedPort, Piece]] = {}

    def add_up(self, ports: Iterable[ResolvedPort], make: Callable[[ResolvedPort], Piece]) -> Sum:
        """The sum over `ports`; `make` is asked only for those that were not there last time."""
        before, after = self._pieces, {}
        trees: dict[str, list[Leaf]] = defaultdict(list)
        chains: Chains = {}
        hairpins: set[str] = set()
        for port in ports:
            # the cache holds the port too, so that its id isn't reused
            known = before.get(id(port))
            if known is None:
                known = port, make(port)
            after[id(port)] = known
            leaves, own, hosts = known[1]
            for root, leaf in leaves:
                trees[root].append(leaf)
            if own:
                chains |= own
            if hosts:
                hairpins.update(hosts)
        self._pieces = after
        return Sum(trees, chains, hairpins)
