"""Changes -> batches of map entries.

Everything is worked out first, with all numbers, slots and capacities, so that an impossible apply is refused
before its first write. batches.py has the order of the writes; Maglev tables come before them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...program import Change, Key
from ...targets.xdp import layout
from ...targets.xdp.resources import (
    FrontendKey,
    Listener,
    Member,
    Pool,
    PoolKey,
    Service,
    ServingKey,
    StrayKey,
)
from . import entries
from .batches import Batches
from .numbers import MapFullError
from .observe import POOL_KINDS, State, map_of, service_of, slot_view
from .single import packed_value, place_of
from .syscall import Fd
from .tables import NewTable, fill

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Gone", "Writer"]

_SERVING = layout.CONSTANTS["BACKEND_SERVING"]
End = tuple[str, int]


class Gone(msgspec.Struct):
    """UDP flows to remove: those to `backends` (numbers) and of `frontends` (version, address, port)."""

    backends: set[int]
    frontends: set[tuple[int, str, int]]


class Writer:
    """Writes to `maps`, and keeps `state` equal to their contents.

    `fresh`: the maps are new, so no counter needs to be cleared.
    """

    def __init__(self, maps: Mapping[str, Fd], state: State, fresh: bool = False) -> None:
        self.maps, self.state, self.fresh = maps, state, fresh
        self._view: np.ndarray[Any, Any] | None = None

    def apply(self, changes: Sequence[Change], netns: int, index_of: Mapping[str, int]) -> Gone:
        """Make `changes` of map entries; attachments are left out.

        `netns`: the namespace's cookie. `index_of`: interface name -> index.

        Raises MapFullError, before anything is written, where a map is too small, or another KernelError.
        After both the state must be read again.
        """
        return _Apply(self, changes, netns, index_of).run()

    @property
    def slots(self) -> np.ndarray[Any, Any]:
        if self._view is None:
            self._view = slot_view(self.maps["slots"])
        return self._view


class _Apply:
    """One apply: works out numbers, tables and `batches`, then writes, then updates the state.

    `new_tables`: Maglev tables to write. `removed_backends`: numbers. `used_backends`: numbers of all
    backends of the Services that change. `idle`: Services that nothing names any more.
    """

    def __init__(
        self, writer: Writer, changes: Sequence[Change], netns: int, index_of: Mapping[str, int]
    ) -> None:
        self.writer, self.state, self.netns, self.index_of = writer, writer.state, netns, index_of
        self.changes = list(changes)
        self.batches = Batches()
        self.new_tables: list[NewTable] = []
        self.removed_backends: list[int] = []
        self.used_backends: set[int] = set()
        self.idle: list[Service] = []
        self.gone = Gone(set(), set())

    def run(self) -> Gone:
        self.state.begin()
        self.number_services()
        self.change_backends()
        self.change_pools()
        self.change_single_entries()
        self.remove_strays()
        self.check_capacities()
        fill(self.new_tables, self.state.slots, lambda: self.writer.slots)
        for table in self.new_tables:
            value = layout.POOL.pack(table.first, table.size)
            self.batches.add("pools", layout.INDEX.pack(table.pool), value)
        self.batches.write(self.writer.maps)
        self.update_state()
        return self.gone

    def number_services(self) -> None:
        """Numbers for new Services; the names of those that nothing names any more are removed."""
        state = self.state
        before: dict[Service, int] = {}
        for change in self.changes:
            for value, step in ((change.old, -1), (change.new, 1)):
                if value is not None and (service := service_of(change.key, value)) is not None:
                    before.setdefault(service, state.users[service])
                    state.users[service] += step
        new = [s for s in before if state.users[s] and s not in state.services]
        state.service_ids.require(len(new))
        for service in new:
            number = state.services[service] = state.service_ids.take()
            self.batches.add("names", layout.INDEX.pack(number), entries.name(*service))
        self.idle = [s for s in before if not state.users[s] and s in state.services]
        for service in self.idle:
            self.batches.remove("names", layout.INDEX.pack(state.services[service]))

    def change_backends(self) -> None:
        """The backends of every Service port whose pools change."""
        after = {change.key: change.new for change in self.changes}
        owners = dict.fromkeys(key.owner for key in after if isinstance(key, PoolKey | ServingKey))
        wanted = {owner: self.wanted_backends(owner, after) for owner in owners}
        new = 0
        for owner, flags in wanted.items():
            known = self.state.backends.get(self.state.services.get(owner, -1), {})
            new += sum(end not in known for end in flags)
        self.state.backend_ids.require(new)
        for owner, flags in wanted.items():
            self.write_backends(owner, flags)

    def wanted_backends(self, owner: Service, after: Mapping[Key, Any]) -> dict[End, int]:
        """The flags of each backend that `owner` has after the apply; `after`: the new values by key."""
        program = self.state.program
        flags: dict[End, int] = {}
        serving = ServingKey(*owner)
        for end in (after[serving] if serving in after else program.get(serving)) or ():
            flags[end] = _SERVING
        for kind in POOL_KINDS:
            key = PoolKey(*owner, kind)
            pool = after[key] if key in after else program.get(key)
            if pool is not None:
                flags.update({(m.ip, m.port): m.flags for m in pool.members})
        return flags

    def write_backends(self, owner: Service, wanted: dict[End, int]) -> None:
        """The entries of the backends of `owner`: new ones, those whose flags change, removed ones."""
        state, version, service = self.state, owner.version, self.state.services.get(owner, 0)
        numbers = state.backends.setdefault(service, {})
        for end, final in wanted.items():
            number = numbers.get(end, 0)
            if not number:
                number = numbers[end] = state.backend_ids.take()
                if not self.writer.fresh:
                    self.batches.clear_counter(layout.INDEX.pack(number))
                now = final
            else:
                now = state.flags[number]
            self.used_backends.add(number)
            if state.flags.get(number) == final:
                continue
            # new flags first, lost ones last: in between the backend has both
            key, member = layout.INDEX.pack(number), Member(*end, 0)
            self.batches.add("backends", key, entries.backend(version, member, now | final, service))
            if now | final != final:
                self.batches.lower(key, entries.backend(version, member, final, service))
            state.flags[number] = final
        for end in [end for end in numbers if end not in wanted]:
            number = numbers.pop(end)
            # its address stays in the map: a packet in flight may have chosen it
            value = entries.backend(version, Member(*end, 0), 0, service)
            self.batches.lower(layout.INDEX.pack(number), value)
            self.remove_backend(number, owner.protocol)
        if not numbers:
            del state.backends[service]

    def remove_backend(self, number: int, protocol: str) -> None:
        self.state.flags.pop(number, None)
        self.removed_backends.append(number)
        if protocol == "udp":
            self.gone.backends.add(number)

    def change_pools(self) -> None:
        for change in self.changes:
            if isinstance(change.key, PoolKey):
                self.change_pool(change.key, change.old, change.new)

    def change_pool(self, key: PoolKey, old: Pool | None, new: Pool | None) -> None:
        """Remove the pool's table, or make a new one unless members and size are the same."""
        service = self.state.services.get(key.owner)
        if service is None:
            return
        pool = 2 * service + POOL_KINDS.index(key.pool)
        if new is None:
            self.batches.remove("pools", layout.INDEX.pack(pool))
            self.state.slots.put_back(*self.state.tables.pop(pool, (0, 0)))
            return
        ends = [(m.ip, m.port) for m in new.members]
        if old is not None and old.size == new.size and ends == [(m.ip, m.port) for m in old.members]:
            return
        numbers = self.state.backends[service]
        packed = [entries.hash_input(key.version, end) for end in ends]
        self.new_tables.append(NewTable(pool, new.size, [numbers[end] for end in ends], packed))

    def change_single_entries(self) -> None:
        """The resources that are one map entry each."""
        for change in self.changes:
            found = place_of(change.key, self.state, self.index_of)
            if found is None:
                continue
            name, key = found
            if change.new is None:
                self.batches.remove(name, key)
            else:
                self.batches.add(name, key, packed_value(change.key, change.new, self.state, self.netns))
            if isinstance(change.key, FrontendKey):
                self.leave_flows(change.key, change.old, change.new)

    def leave_flows(self, key: FrontendKey, old: Listener | None, new: Listener | None) -> None:
        """The flows of a frontend go that is another Service's now, or nobody's: they are to old backends."""
        moved = old is not None and (new is None or old.service != new.service)
        if moved and key.protocol == "udp":
            self.gone.frontends.add((key.version, key.address, key.port))

    def remove_strays(self) -> None:
        """Remove entries that a killed apply has left, unless this apply uses their numbers."""
        state = self.state
        strays = [change.key for change in self.changes if isinstance(change.key, StrayKey)]
        if not strays:
            return
        named = {state.services[s] for s, users in state.users.items() if users and s in state.services}
        written = {table.pool for table in self.new_tables}
        for key in strays:
            name, number = key.map, key.entry
            if isinstance(number, str):  # the bytes of a key that no apply writes
                self.batches.remove(name, bytes.fromhex(number))
            elif name == "interfaces":
                self.batches.remove(name, layout.INDEX.pack(number))
            elif name == "names" and number not in named:
                self.batches.remove(name, layout.INDEX.pack(number))
                self.idle += [s for s, n in state.services.items() if n == number]
            elif name == "pools" and number not in written:
                self.batches.remove(name, layout.INDEX.pack(number))
            elif name == "backends" and number not in self.used_backends:
                self.batches.remove(name, layout.INDEX.pack(number))
                state.forget_backend(number)
                self.remove_backend(number, "")
            elif name.startswith("ranges"):
                self.batches.remove(name, entries.range_key(int(name[-1]), *number))

    def check_capacities(self) -> None:
        """Raise KernelError unless every hash has room for the new entries beside those to be removed."""
        counts = Counter(map_of(change.key) for change in self.changes if change.old is None)
        counts.pop("", None)  # resources that aren't one entry of a hash
        for name, more in counts.items():
            wanted = self.state.held(name) + more
            if wanted > self.state.capacities[name]:
                raise MapFullError(name, wanted, self.state.capacities[name])

    def update_state(self) -> None:
        """The state after the writes."""
        state = self.state
        for table in self.new_tables:
            if table.pool in state.tables:
                state.slots.put_back(*state.tables[table.pool])
            state.tables[table.pool] = table.first, table.size
        for number in self.removed_backends:
            state.backend_ids.put_back(number)
        for service in self.idle:
            if service in state.services:
                state.service_ids.put_back(state.services.pop(service))
        for change in self.changes:
            state.change(change.key, change.old, change.new)
