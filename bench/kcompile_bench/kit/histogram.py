"""Histograms of latencies with HdrHistogram's layout at two significant digits: 128 buckets an octave, so a
value is kept to under 1%.

drive.c counts in the same layout and prints only what isn't zero; here they are added up and asked for
quantiles. PyPI's ``hdrhistogram`` has a part in C for recording, the one thing that isn't needed here, and no
wheel for every Python that kcompile runs on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["Histogram", "bucket", "bounds"]

HALF = 128


def bucket(value: int) -> int:
    """The index of the bucket that `value` (nanoseconds, not negative) falls into."""
    shift = max(0, value.bit_length() - HALF.bit_length())
    return shift * HALF + (value >> shift)


def bounds(index: int) -> tuple[int, int]:
    """The smallest value of bucket `index`, and of the next one."""
    if index < 2 * HALF:
        return index, index + 1
    shift = index // HALF - 1
    low = (index - shift * HALF) << shift
    return low, low + (1 << shift)


class Histogram:
    """Counts by bucket. `pairs` are ``(index, count)``, as drive.c prints them."""

    def __init__(self, pairs: Iterable[Sequence[int]] = ()) -> None:
        self.counts: Counter[int] = Counter()
        self.add(pairs)

    def add(self, pairs: Iterable[Sequence[int]]) -> None:
        """Add another histogram's pairs."""
        for index, count in pairs:
            self.counts[index] += count

    def pairs(self) -> list[list[int]]:
        return [[index, self.counts[index]] for index in sorted(self.counts)]

    def packed(self) -> list[int]:
        """A flat list for a file: for each bucket the distance from the last one, and its count."""
        flat, last = [], 0
        for index in sorted(self.counts):
            flat += [index - last, self.counts[index]]
            last = index
        return flat

    def add_packed(self, flat: Sequence[int]) -> None:
        """Add the counts of a `packed` list."""
        index = 0
        for step, count in zip(flat[::2], flat[1::2], strict=True):
            index += step
            self.counts[index] += count

    @property
    def total(self) -> int:
        return self.counts.total()

    def quantile(self, q: float) -> float:
        """The value in ns below which `q` of all values lie, interpolated within its bucket. Raises
        ValueError if empty.
        """
        if not self.counts:
            raise ValueError("an empty histogram has no quantiles")
        wanted, seen = q * self.total, 0
        for index in sorted(self.counts):
            count = self.counts[index]
            if seen + count >= wanted:
                low, high = bounds(index)
                return low + (high - low) * max(0.0, wanted - seen) / count
            seen += count
        raise AssertionError("q is above 1")

    def curve(self, points: int = 200) -> list[tuple[float, float]]:
        """About `points` pairs at most: ``(nanoseconds, share of values at or below)``; the last is 1."""
        indexes = sorted(self.counts)
        step = max(1, len(indexes) // points)
        found, seen, total = [], 0, self.total
        for number, index in enumerate(indexes):
            seen += self.counts[index]
            if number % step == 0 or number == len(indexes) - 1:
                found.append((float(bounds(index)[1]), seen / total))
        return found
