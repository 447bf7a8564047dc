"""A decision tree of chains: a packet with key K reaches exactly the rules listed under K.

iptables has no maps, and a list of 10,000 rules costs each new connection 90 us. So keys (addresses; or
protocol and port) form a path-compressed trie of two bits a level, one chain a node. A packet descends by -g
(goto) and passes O(log n) rules; a packet without a key leaves at the first level without a match.

A level's bit position is a multiple of two and depends only on the keys with its prefix. So an added or
removed key changes only the chains on its own path; all other chains keep their names and rules, and an
update doesn't look at them.

Chains may nest 15 deep below a hook (NFT_JUMP_STACK_SIZE in linux/netfilter/nf_tables.h; a goto counts). Keys
that need more than `levels` are listed together in the last level.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["LEAF", "INLINE", "Spell", "Tree"]

STRIDE = 2
LEAF = 16  # rules of a chain before it is split
INLINE = 2  # up to so many rules stay in the parent: a chain costs the kernel three entries

Spell = Callable[[int, int], tuple[str, str]]
"""Of a prefix and its length: the match (ending in a blank) for the keys that start with these bits, and the
name of their chain.
"""


class _Node(NamedTuple):
    """A chain: how many levels it may have below it, and the chains that it leads to."""

    levels: int
    below: Sequence[str]


class Tree:
    """One tree, kept up to date key by key. `root`: the rules of its root. `chains`: those below.

    :param width: the bits of a key, a multiple of two
    :param default: rules at the end of every chain below the root, for other keys
    """

    def __init__(self, width: int, spell: Spell, levels: int, default: tuple[str, ...] = ()) -> None:
        self.root: tuple[str, ...] = ()
        self.chains: dict[str, tuple[str, ...]] = {}
        self._width, self._spell, self._levels, self._default = width, spell, levels, default
        self._keys: list[int] = []
        self._rules: list[Sequence[str]] = []  # of each key
        self._nodes: dict[str, _Node] = {}
        self._top = _Node(levels, ())
        self._changed: list[int] = []  # the keys of this update
        self._made: dict[str, _Node] = {}  # the chains of this update

    def __len__(self) -> int:
        return len(self._keys)

    def update(self, items: Mapping[int, Sequence[str] | None]) -> list[str]:
        """Put rules under keys; None takes a key away.

        :return: the chains below the root that are new, gone or may have other rules
        """
        self._changed, self._made = sorted(items), {}
        self._put(items)
        below: list[str] = []
        self.root = tuple(self._node(0, len(self._keys), self._levels, below))
        gone = self._sweep(_Node(self._levels, below))
        return [*self._made, *gone]

    def _put(self, items: Mapping[int, Sequence[str] | None]) -> None:
        keys, rules = self._keys, self._rules
        for key in self._changed:
            value = items[key]
            at = bisect_left(keys, key)
            found = at < len(keys) and keys[at] == key
            if value is None:
                if found:
                    del keys[at], rules[at]
            elif found:
                rules[at] = value
            else:
                keys.insert(at, key)
                rules.insert(at, value)

    def _sweep(self, top: _Node) -> list[str]:
        """Forget the chains that nothing leads to any more; return their names."""
        nodes = self._nodes
        kept = {name for node in (top, *self._made.values()) for name in node.below}
        left = [*self._top.below, *(c for name in self._made if name in nodes for c in nodes[name].below)]
        gone: list[str] = []
        while left:
            name = left.pop()
            if name not in kept and name in nodes:
                left += nodes.pop(name).below
                del self.chains[name]
                gone.append(name)
        nodes |= self._made
        self._top = top
        return gone

    def _exceeds(self, limit: int, low: int, high: int) -> bool:
        """Whether the keys from `low` to `high` have more than `limit` rules; mostly the first ones tell."""
        few = min(high, low + limit + 1)
        if sum(map(len, self._rules[low:few])) > limit:
            return True
        return few < high and sum(map(len, self._rules[low:high])) > limit

    def _listed(self, low: int, high: int) -> list[str]:
        return [rule for rules in self._rules[low:high] for rule in rules]

    def _node(self, low: int, high: int, levels: int, below: list[str]) -> list[str]:
        """The rules of a chain for the keys from `low` to `high`; what it leads to is added to `below`."""
        keys = self._keys
        if high - low <= 1 or levels == 0 or not self._exceeds(LEAF, low, high):
            return self._listed(low, high)
        shift = self._width - self._common(keys[low], keys[high - 1]) - STRIDE
        rules: list[str] = []
        while low < high:
            end = bisect_left(keys, ((keys[low] >> shift) + 1) << shift, low, high)
            rules += self._group(low, end, levels - 1, below)
            low = end
        return rules

    def _group(self, low: int, high: int, levels: int, below: list[str]) -> list[str]:
        if not self._exceeds(INLINE, low, high):
            return self._listed(low, high)
        first = self._keys[low]
        length = self._common(first, self._keys[high - 1])
        rest = self._width - length
        prefix = first >> rest << rest
        match, name = self._spell(prefix, length)
        below.append(name)
        node = self._nodes.get(name)
        if node is None or node.levels != levels or self._has_changed(prefix, rest):
            inside: list[str] = []
            self.chains[name] = (*self._node(low, high, levels, inside), *self._default)
            self._made[name] = _Node(levels, inside)
        return [f"{match}-g {name}"]

    def _has_changed(self, prefix: int, rest: int) -> bool:
        at = bisect_left(self._changed, prefix)
        return at < len(self._changed) and self._changed[at] < prefix + (1 << rest)

    def _common(self, first: int, last: int) -> int:
        """How many leading bits two keys share, rounded down to the stride."""
        return (self._width - (first ^ last).bit_length()) // STRIDE * STRIDE
