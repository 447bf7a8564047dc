"""Maglev hashing: tables that spread packets evenly, and change in few entries when a backend comes or goes.

Each backend has a permutation of the table's places, given by (offset, skip) from a hash of its address and
port. In turns, each backend takes the first free place of its permutation, until all places are taken
(Eisenbud et al., NSDI 2016, section 3.4). `table` does this for one pool. `tables` does it for many pools of
the same size at once, a round at a time: all backends claim a place, the earliest of those with the same
claim gets it, and the others move on. The tables are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PLACES_EACH", "hashes", "size_for", "table", "tables"]

PLACES_EACH = 100
_LARGEST = 65_537  # as in Katran and the paper; a prime
_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_OFFSET, _SKIP = 0x51ED270B, 0x2545F491


@lru_cache(maxsize=4096)
def size_for(count: int, random: bool = False) -> int:
    """Places in the table of `count` backends: the first prime above 100 for each, at most 65,537, but no
    fewer than `count`. One place each where backends are chosen at random, or there is only one.
    """
    if count <= 1 or random:
        return count
    if count * PLACES_EACH >= _LARGEST - 1 and count < _LARGEST:
        return _LARGEST
    number = max(count * PLACES_EACH if count < _LARGEST else count, 2) + 1
    while not _prime(number):
        number += 1
    return number


def _prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def hashes(members: Sequence[bytes]) -> np.ndarray[Any, Any]:
    """A 64-bit hash of each member: 18 bytes, the address (an IPv4 one first, then zeros) and the port in
    network order.
    """
    import numpy as np

    raw = np.frombuffer(b"".join(members), dtype=np.dtype([("high", "<u8"), ("low", "<u8"), ("port", ">u2")]))
    mixed = _mixed(raw["high"].astype(np.uint64))
    mixed = _mixed(mixed ^ raw["low"])
    return _mixed(mixed ^ raw["port"].astype(np.uint64))


def _mixed(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """SplitMix64 (Steele, Lea, Flood 2014)."""
    import numpy as np

    value = value + np.uint64(_STEP)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_MIX[0])
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_MIX[1])
    mixed: np.ndarray[Any, Any] = value ^ (value >> np.uint64(31))
    return mixed


def _mixed_one(value: int) -> int:
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * _MIX[0]) & _MASK
    value = ((value ^ (value >> 27)) * _MIX[1]) & _MASK
    return value ^ (value >> 31)


def table(hashed: Sequence[int], size: int) -> list[int]:
    """The table of one pool: for each of `size` places (a prime, unless it is the number of members) the
    index of a member.
    """
    if size == len(hashed):
        return list(range(size))
    at = [_mixed_one(h ^ _OFFSET) % size for h in hashed]
    skips = [_mixed_one(h ^ _SKIP) % (size - 1) + 1 for h in hashed]
    places = [-1] * size
    free = size
    while True:
        for member, skip in enumerate(skips):
            place = at[member]
            while places[place] >= 0:
                place += skip
                if place >= size:
                    place -= size
            at[member] = place
            places[place] = member
            free -= 1
            if not free:
                return places


def tables(hashed: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """The tables of pools that have as many members each: `hashed` is (pools, members), the result (pools,
    size).
    """
    import numpy as np

    pools, members = hashed.shape
    if size == members:
        return np.tile(np.arange(members, dtype=np.uint32), (pools, 1))
    if pools * size <= _BY_HAND:
        return np.array([table([int(h) for h in row], size) for row in hashed], dtype=np.uint32)
    return _Filling(hashed, size).run()


_BY_HAND = 65_536  # places below which Python's loop is quicker than the many calls of numpy


class _Filling:
    """Tables of many pools while they fill.

    Arrays over members are flat: pool * members + member; over places: pool * size + place.
    """

    def __init__(self, hashed: np.ndarray[Any, Any], size: int) -> None:
        import numpy as np

        self.pools, self.members = hashed.shape
        self.size = size
        flat = hashed.reshape(-1)
        self.at = (_mixed(flat ^ np.uint64(_OFFSET)) % np.uint64(size)).astype(np.int64)
        self.skip = (_mixed(flat ^ np.uint64(_SKIP)) % np.uint64(size - 1)).astype(np.int64) + 1
        self.member = np.tile(np.arange(self.members, dtype=np.int32), self.pools)
        self.base = np.repeat(np.arange(self.pools, dtype=np.int64) * size, self.members)
        self.places = np.zeros(self.pools * size, dtype=np.uint32)
        # the member that claims each place in this round; -1: taken in an earlier one
        self.claims = np.full(self.pools * size, self.members, dtype=np.int32)

    def run(self) -> np.ndarray[Any, Any]:
        free = self.size
        while free > max(self.members, 16):
            self.round()
            free -= self.members
        self.finish(free)
        return self.places.reshape(self.pools, self.size)

    def round(self) -> None:
        """Every member takes one place."""
        import numpy as np

        pending = np.arange(self.pools * self.members - 1, -1, -1, dtype=np.int64)
        while pending.size:
            self.advance(pending)
            claimed = self.base[pending] + self.at[pending]
            before = self.claims[claimed]
            # pending is sorted backwards, so that the last write to a place is the earliest member's
            self.claims[claimed] = self.member[pending]
            won = self.claims[claimed] == self.member[pending]
            outdone = won & (before < self.members)
            driven_out = pending[outdone] - self.member[pending[outdone]] + before[outdone]
            pending = np.sort(np.concatenate((pending[~won], driven_out)))[::-1]
        taken = self.base + self.at
        self.places[taken] = self.member
        self.claims[taken] = -1

    def advance(self, pending: np.ndarray[Any, Any]) -> None:
        """Move each of `pending` on to a place that is neither taken nor claimed by an earlier member."""
        moving = pending
        while True:
            moving = moving[self.claims[self.base[moving] + self.at[moving]] < self.member[moving]]
            if not moving.size:
                return
            place = self.at[moving] + self.skip[moving]
            self.at[moving] = place - (place >= self.size) * self.size

    def finish(self, free: int) -> None:
        """The last `free` places, a turn at a time.

        Walking a permutation to its next free place takes long by now, so that place is computed.
        """
        import numpy as np

        size, members = self.size, self.members
        left = np.nonzero(self.claims >= 0)[0].reshape(self.pools, free) % size
        at = self.at.reshape(self.pools, members)
        inverse = _inverse(self.skip, size).reshape(self.pools, members)
        rows = np.arange(self.pools)
        gone = np.zeros(left.shape, dtype=np.int64)
        for turn in range(free):
            member = turn % members
            steps = (left - at[:, member, None]) % size * inverse[:, member, None] % size + gone
            chosen = np.argmin(steps, axis=1)
            self.places[rows * size + left[rows, chosen]] = member
            gone[rows, chosen] = size


def _inverse(values: np.ndarray[Any, Any], prime: int) -> np.ndarray[Any, Any]:
    """Inverses modulo a prime, by Fermat: value ** (prime - 2)."""
    import numpy as np

    result, power, exponent = np.ones_like(values), values.copy(), prime - 2
    while exponent:
        if exponent & 1:
            result = result * power % prime
        power = power * power % prime
        exponent >>= 1
    return result
