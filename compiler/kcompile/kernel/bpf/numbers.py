"""Allocates the numbers of Services and backends in the maps, and the slots of their tables.

A Program has no numbers. They are read back from the kernel, so a Service that stays keeps its number. A
freed number or slot is reused by a later apply only: a packet in flight may still use it.
"""

from __future__ import annotations

from bisect import insort

from ...errors import KernelError

__all__ = ["Ids", "MapFullError", "Slots", "roomy"]


class MapFullError(KernelError):
    """Map `name` is too small: `wanted` entries are needed."""

    def __init__(self, name: str, wanted: int, capacity: int) -> None:
        remedy = f"apply with --xdp-capacity {name}={roomy(wanted)}, or without it"
        super().__init__(f"map {name} holds {capacity} entries, and {wanted} are needed: {remedy}")
        self.name, self.wanted = name, wanted


def roomy(wanted: int) -> int:
    """A capacity for `wanted` entries and as many more, a power of two."""
    return 1 << (2 * wanted - 1).bit_length()


class Ids:
    """Allocates ids 1..capacity-1 round-robin (0 = none), so a freed id is reused as late as possible."""

    def __init__(self, name: str, capacity: int, used: set[int]) -> None:
        self.name, self.capacity, self.used = name, capacity, used
        self.resting: set[int] = set()
        self.last = max(used, default=0)

    def require(self, count: int) -> None:
        """Raise KernelError unless `count` more ids are free."""
        wanted = len(self.used) + count + 1
        if wanted > self.capacity:
            raise MapFullError(self.name, wanted, self.capacity)

    def take(self) -> int:
        """A free id; call `require` first. Ids that this apply freed come last."""
        for again in (False, True):
            for _ in range(self.capacity):
                self.last = self.last % (self.capacity - 1) + 1
                if self.last not in self.used and (again or self.last not in self.resting):
                    self.used.add(self.last)
                    return self.last
        raise MapFullError(self.name, self.capacity + 1, self.capacity)

    def put_back(self, number: int) -> None:
        self.used.discard(number)
        self.resting.add(number)

    def release(self) -> None:
        """A new apply begins: ids that the last one freed can be used."""
        self.resting.clear()


class Slots:
    """Allocates ranges of the map slots. `used`: (first, size) of every table in use."""

    def __init__(self, capacity: int, used: list[tuple[int, int]]) -> None:
        self.capacity = capacity
        self.gaps: list[tuple[int, int]] = []  # (first, size), sorted, never touching
        self.resting: list[tuple[int, int]] = []
        at = 0
        for first, size in sorted(used):
            if first > at:
                self.gaps.append((at, first - at))
            at = max(at, first + size)
        if at < capacity:
            self.gaps.append((at, capacity - at))

    @property
    def free(self) -> int:
        return sum(size for _, size in self.gaps)

    def take(self, size: int) -> int:
        """The first of `size` adjacent slots; raises KernelError where there is no such gap."""
        for index, (first, room) in enumerate(self.gaps):
            if room >= size:
                if room == size:
                    del self.gaps[index]
                else:
                    self.gaps[index] = (first + size, room - size)
                return first
        raise MapFullError("slots", self.capacity - self.free + size, self.capacity)

    def put_back(self, first: int, size: int) -> None:
        if size:
            self.resting.append((first, size))

    def release(self) -> None:
        """A new apply begins: slots that the last one freed can be used."""
        for gap in self.resting:
            insort(self.gaps, gap)
        if self.resting:
            joined: list[tuple[int, int]] = []
            for first, size in self.gaps:
                if joined and sum(joined[-1]) == first:
                    joined[-1] = joined[-1][0], joined[-1][1] + size
                else:
                    joined.append((first, size))
            self.gaps = joined
        self.resting = []
