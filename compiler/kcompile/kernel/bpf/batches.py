"""The map entries of one apply, written in an order in which no packet meets a half-made Service."""

from __future__ import annotations

from collections.abc import Mapping

from ...targets.xdp import layout
from . import library
from .syscall import Fd

__all__ = ["Batches"]

_ADDING = (
    "config",
    "interfaces",
    "locals4",
    "locals6",
    "names",
    "counters",
    "backends",
    "pools",
    "ranges4",
    "ranges6",
    "frontends4",
    "frontends6",
)
_REMOVING = (
    "frontends4",
    "frontends6",
    "ranges4",
    "ranges6",
    "pools",
    "backends",
    "names",
    "locals4",
    "locals6",
    "interfaces",
    "config",
)
_ARRAYS = ("config", "pools", "backends")  # their entries can't be deleted: zeros are written

_Batch = dict[bytes, bytes]  # key -> value


class Batches:
    """Entries by map: `add` those that are new or changed, `remove` those that aren't wanted any more.

    `write` adds all entries before it removes any.
    """

    def __init__(self) -> None:
        self._added: dict[str, _Batch] = {name: {} for name in _ADDING}
        self._removed: dict[str, _Batch] = {name: {} for name in _REMOVING}

    def add(self, name: str, key: bytes, value: bytes) -> None:
        """Write an entry of map `name`."""
        self._added[name][key] = value

    def clear_counter(self, key: bytes) -> None:
        """Set the counters of a backend to zero, on all CPUs."""
        self._added["counters"][key] = bytes(layout.COUNTER.size * library.possible_cpus())

    def remove(self, name: str, key: bytes) -> None:
        """Remove an entry of map `name`, unless it is added too."""
        self._removed[name][key] = bytes(layout.MAPS[name].value.size)

    def lower(self, key: bytes, value: bytes) -> None:
        """Write an entry of map backends after all others: one that has lost flags, or is free."""
        self._removed["backends"][key] = value

    def write(self, maps: Mapping[str, Fd]) -> None:
        """Write all entries to `maps`. Raises KernelError; part of them may be written then."""
        for name, batch in self._added.items():
            _update(maps[name], batch)
        for name, batch in self._removed.items():
            if name in _ARRAYS:
                _update(maps[name], batch)
            else:
                _delete(maps[name], [key for key in batch if key not in self._added[name]])


def _update(fd: Fd, batch: _Batch) -> None:
    library.update_batch(fd, b"".join(batch), b"".join(batch.values()), len(batch))


def _delete(fd: Fd, keys: list[bytes]) -> None:
    if keys:
        library.delete_batch(fd, b"".join(keys), len(keys))
