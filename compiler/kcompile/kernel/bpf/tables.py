"""New Maglev tables in free slots; no packet follows them until their pools name them."""

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
    """The table of pool number `pool`: the numbers of its backends, and their addresses and ports as
    maglev.hashes takes them.
    """

    pool: int
    size: int
    backends: list[int]
    packed: list[bytes]
    first: int = 0


def fill(new: Sequence[NewTable], slots: Slots, view: Callable[[], np.ndarray[Any, Any]]) -> None:
    """Find room for all of `new` (KernelError where there is none), set their `first`, then write them, those
    of a shape together.
    """
    import numpy as np

    shapes: dict[tuple[int, int], list[NewTable]] = {}
    for table in new:
        shapes.setdefault((len(table.backends), table.size), []).append(table)
    for (_, size), same in shapes.items():
        for table in same:
            table.first = slots.take(size)
    for (count, size), same in shapes.items():
        hashed = maglev.hashes([packed for table in same for packed in table.packed]).reshape(
            len(same), count
        )
        numbers = np.array([table.backends for table in same], dtype=np.uint32)
        filled = np.take_along_axis(numbers, maglev.tables(hashed, size).astype(np.int64), axis=1)
        memory = view()
        for table, row in zip(same, filled, strict=True):
            memory[table.first : table.first + size] = row
