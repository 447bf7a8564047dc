"""Whether the maps have what they should have, at a cost that an agent can pay every sync period.

Every time: how many entries each map has. In turns, some thousand entries a time: each of them, byte by byte.
Of the Maglev tables, that each slot leads to a backend of its pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice

from ...targets.xdp import layout
from ...targets.xdp.resources import (
    AddressKey,
    ConfigKey,
    FrontendKey,
    InterfaceKey,
    LocalKey,
    Member,
    RangeKey,
)
from . import entries, library
from .observe import State, backend_rows, map_entries, pool_rows, slot_view
from .single import packed_value, place_of
from .syscall import Fd

__all__ = ["Comparison"]

_AT_ONCE = 8192
"""Entries after which a look is over; it ends the kind of entry that it has begun."""
_TABLES_AT_ONCE = 4096
_FRONTENDS = ("frontends4", "frontends6")
_OTHERS = ("config", "interfaces", "locals4", "locals6", "ranges4", "ranges6")
_KINDS = {
    _FRONTENDS: (FrontendKey, AddressKey),
    _OTHERS: (ConfigKey, InterfaceKey, LocalKey, RangeKey),
}
_COUNTED = (*_FRONTENDS, "locals4", "locals6", "ranges4", "ranges6")


class Comparison:
    """Of `maps` with `state`: what this process has read and written. Remembers whose turn it is."""

    def __init__(self, maps: Mapping[str, Fd], state: State) -> None:
        self._maps, self._state = maps, state
        self._turn = self._table = 0

    def differs(self, netns: int, index_of: Mapping[str, int]) -> bool:
        """`netns`: the namespace's cookie. `index_of`: interface name -> index."""
        if self._wrong_counts():
            return True
        state = self._state
        looks: list[tuple[Callable[[], bool], int]] = [
            (partial(self._single, names, netns, index_of), sum(map(state.held, names)))
            for names in (_FRONTENDS, _OTHERS)
        ]
        looks += [
            (self._names, len(state.services)),
            (self._backends, len(state.flags)),
            (self._tables, len(state.tables)),
        ]
        done = 0
        for _ in looks:
            look, size = looks[self._turn]
            self._turn = (self._turn + 1) % len(looks)
            if look():
                return True
            done += size
            if done >= _AT_ONCE:
                break
        return False

    def _wrong_counts(self) -> bool:
        import numpy as np

        state = self._state
        wanted = {name: state.held(name) for name in _COUNTED} | {"names": len(state.services)}
        if any(_count(self._maps[name]) != count for name, count in wanted.items()):
            return True
        used = np.count_nonzero(backend_rows(self._maps["backends"])["flags"])
        return bool(used != len(state.flags)) or self._wrong_pools()

    def _wrong_pools(self) -> bool:
        """Whether a pool has another table than it should."""
        import numpy as np

        pools = pool_rows(self._maps["pools"])
        wanted = np.zeros_like(pools)
        numbers = list(self._state.tables)
        wanted[numbers] = np.array(list(self._state.tables.values()), dtype=wanted.dtype)
        return not np.array_equal(pools, wanted)

    def _single(self, names: tuple[str, ...], netns: int, index_of: Mapping[str, int]) -> bool:
        """The maps `names`."""
        kinds = _KINDS[names]
        wanted: dict[str, dict[bytes, bytes]] = {name: {} for name in names}
        for key, value in self._state.program.items():
            if isinstance(key, kinds) and (place := place_of(key, self._state, index_of)) is not None:
                wanted[place[0]][place[1]] = packed_value(key, value, self._state, netns)
        return any(dict(map_entries(self._maps[name])) != wanted[name] for name in names)

    def _names(self) -> bool:
        wanted = {layout.INDEX.pack(n): entries.name(*service) for service, n in self._state.services.items()}
        return dict(map_entries(self._maps["names"])) != wanted

    def _backends(self) -> bool:
        raw, width = library.map_bytes(self._maps["backends"]), layout.BACKEND.size
        return any(raw[n * width : (n + 1) * width] != row for n, row in self._rows())

    def _rows(self) -> Iterator[tuple[int, bytes]]:
        """Number and entry of each backend that is in use."""
        state = self._state
        version_of = {number: service.version for service, number in state.services.items()}
        for service, ends in state.backends.items():
            for end, number in ends.items():
                member, flags = Member(*end, 0), state.flags[number]
                yield number, entries.backend(version_of[service], member, flags, service)

    def _tables(self) -> bool:
        """The tables of the next pools: whether a slot leads elsewhere than to a backend of its pool."""
        import numpy as np

        first = self._table if self._table < len(self._state.tables) else 0
        self._table = first + _TABLES_AT_ONCE
        some = list(islice(self._state.tables.items(), first, self._table))
        if not some:
            return False
        pools = np.array([pool for pool, _ in some], dtype=np.int64)
        starts, sizes = np.array([table for _, table in some], dtype=np.int64).T
        ends = np.cumsum(sizes)
        slots = slot_view(self._maps["slots"])[np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])]
        rows = backend_rows(self._maps["backends"])
        if slots.max(initial=0) >= len(rows):
            return True
        led = rows[slots]
        owners = np.repeat(pools, sizes)
        wanted = np.where(owners & 1, layout.CONSTANTS["BACKEND_LOCAL"], layout.CONSTANTS["BACKEND_CLUSTER"])
        return bool(np.any(led["service"] != owners >> 1) or np.any((led["flags"] & wanted) == 0))


def _count(fd: Fd) -> int:
    return sum(count for _, _, count in library.lookup_batch(fd))
