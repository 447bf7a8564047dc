"""A decision tree of chains: a packet with key K reaches exactly the rules listed under K.

iptables has no maps, and a list of 10,000 rules costs each new connection 90 us. So keys (addresses; or
protocol and port) form a path-compressed trie of four bits a level, one chain a node. A packet descends by -g
(goto) and passes O(log n) rules; a packet without a key leaves at the first level without a match.

A level's bit position is a multiple of four and depends only on the keys with its prefix. So an added or
removed key changes only the chains on its own path; all other chains keep their names and rules.

Chains may nest 15 deep below a hook (NFT_JUMP_STACK_SIZE in linux/netfilter/nf_tables.h; a goto counts). Keys
that need more than `levels` are listed together in the last level.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate

__all__ = ["LEAF", "INLINE", "Item", "build"]

STRIDE = 4
LEAF = 32  # rules of a chain before it is split
INLINE = 2  # up to so many rules stay in the parent: a chain costs the kernel three entries

Item = tuple[int, Sequence[str]]


def build(
    items: Sequence[Item],
    width: int,
    spell: Callable[[int, int], tuple[str, str]],
    chains: dict[str, tuple[str, ...]],
    levels: int,
    default: tuple[str, ...] = (),
) -> list[str]:
    """The rules of the root; the chains below it are added to `chains`.

    `items` is sorted by key; keys have `width` bits (a multiple of four) and are unique. ``spell(prefix,
    length)`` gives the match (ending in a blank) for the keys that start with these bits, and the name of
    their chain. `default`: rules at the end of every chain below the root, for other keys.
    """
    keys = [key for key, _ in items]
    totals = list(accumulate((len(rules) for _, rules in items), initial=0))

    def listed(low: int, high: int) -> list[str]:
        return [rule for _, rules in items[low:high] for rule in rules]

    def node(low: int, high: int, left: int) -> list[str]:
        if totals[high] - totals[low] <= LEAF or high - low == 1 or left == 0:
            return listed(low, high)
        below = width - _common(keys[low], keys[high - 1], width) - STRIDE
        rules: list[str] = []
        while low < high:
            end = bisect_left(keys, ((keys[low] >> below) + 1) << below, low, high)
            rules += group(low, end, left - 1)
            low = end
        return rules

    def group(low: int, high: int, left: int) -> list[str]:
        if totals[high] - totals[low] <= INLINE:
            return listed(low, high)
        first = keys[low]
        length = _common(first, keys[high - 1], width)
        rest = width - length
        match, name = spell(first >> rest << rest, length)
        chains[name] = (*node(low, high, left), *default)
        return [f"{match}-g {name}"]

    return node(0, len(items), levels)


def _common(first: int, last: int, width: int) -> int:
    """How many leading bits two keys share, rounded down to the stride."""
    return (width - (first ^ last).bit_length()) // STRIDE * STRIDE
