"""Larger maps in the place of full ones, with the same entries.

Programs are loaded with the maps that they use. So the larger maps are filled first, then programs that use
them take the place of the attached ones. Numbers stay as they are. Maps of connections are replaced only by
--xdp-capacity; what the old programs have written to them in between is copied afterwards. So no connection
is lost. What backends count in between is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...program import Change, Key
from ...targets.xdp import layout
from . import library
from .numbers import MapFullError, roomy
from .observe import State, map_entries, needs
from .syscall import Fd

__all__ = ["copy_later", "larger", "sizes"]


def sizes(state: State, changes: list[Change], error: MapFullError) -> dict[str, int]:
    """The entries that maps need for `changes`, of those that are too small or would be soon.

    `error`: the map that was too small.
    """
    after: dict[Key, Any] = dict(state.program)
    for change in changes:
        if change.new is None:
            after.pop(change.key, None)
        else:
            after[change.key] = change.new
    wanted = needs(after)
    wanted[error.name] = max(wanted.get(error.name, 0), error.wanted)
    wanted["counters"] = wanted["backends"]
    wanted["pools"] = 2 * wanted["names"]
    known = {name: need for name, need in wanted.items() if name in layout.MAPS}
    return {name: roomy(need) for name, need in known.items() if 2 * need > state.capacities[name]}


def larger(maps: Mapping[str, Fd], wanted: Mapping[str, int]) -> dict[str, Fd]:
    """Maps with `wanted` entries, by name, that hold what those in `maps` hold. Raises KernelError."""
    made = {}
    for name, capacity in wanted.items():
        spec = layout.MAPS[name]
        made[name] = library.create_map(spec.type, spec.key.size, spec.value.size, capacity, spec.flags, name)
        _copy(maps[name], made[name], spec)
    return made


def copy_later(old: Mapping[str, Fd], new: Mapping[str, Fd]) -> None:
    """Copy to maps of connections in `new` what programs have written to those in `old` since `larger`."""
    for name, fd in new.items():
        if layout.MAPS[name].type != layout.LRU_HASH:
            continue
        known = {key for key, _ in map_entries(fd)}
        for key, value in map_entries(old[name]):
            if key not in known and library.lookup(fd, key, len(value)) is None:
                library.update(fd, key, value)


def _copy(old: Fd, new: Fd, spec: layout.MapLayout) -> None:
    if spec.flags & layout.MMAPABLE:
        memory = library.map_bytes(old)
        library.map_bytes(new)[: len(memory)] = memory
        return
    for keys, values, count in library.lookup_batch(old):
        library.update_batch(new, keys, values, count)
