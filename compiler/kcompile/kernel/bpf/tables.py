"""Writes new Maglev tables to free slots; packets use a table once its pool names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...targets.xdp import maglev
from .numbers import Slots

if TYPE_CHECKING:
    import numpy as np

__all__ = ["NewTable", "fill"]


class NewTable(msgspec.Struct):
    """The table of pool number `pool`: numbers of its backends, and the input of maglev.hashes for each."""

    pool: int
    size: int
    backends: list[int]
    packed: list[bytes]
    first: int = 0


def fill(new: Sequence[NewTable], slots: Slots, view: Callable[[], np.ndarray[Any, Any]]) -> None:
    """Allocate slots for all of `new` (sets their `first`), then write them, tables of equal size together.

    Raises KernelError where there is no room.
    """
    import numpy as np

    shapes: dict[tuple[int, int], list[NewTable]] = {}
    for table in new:
        shapes.setdefault((len(table.backends), table.size), []).append(table)
    for (_, size), same in shapes.items():
        for table in same:
            table.first = slots.take(size)
    for (count, size), same in shapes.items():
        packed = [endpoint for table in same for endpoint in table.packed]
        hashed = maglev.hashes(packed).reshape(len(same), count)
        numbers = np.array([table.backends for table in same], dtype=np.uint32)
        filled = np.take_along_axis(numbers, maglev.tables(hashed, size).astype(np.int64), axis=1)
        memory = view()
        for table, row in zip(same, filled, strict=True):
            memory[table.first : table.first + size] = row
