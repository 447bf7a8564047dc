"""Changes -> batches of map entries, in an order in which packets never meet something half made.

All is worked out first, with every number, slot and capacity, so that what can't be done is refused before
the first write. Then come names, backends, slots, pools, what sources may reach, frontends; and last what is
no longer wanted, the other way round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ...program import Change
from ...targets.xdp import layout
from ...targets.xdp.resources import (
    AddressKey,
    ConfigKey,
    FrontendKey,
    InterfaceKey,
    Listener,
    LocalKey,
    Member,
    Pool,
    PoolKey,
    RangeKey,
    Service,
    ServingKey,
    StrayKey,
)
from . import entries, library
from .numbers import full
from .observe import POOL_KINDS, State, map_of, service_of, slot_view
from .syscall import Fd
from .tables import NewTable, fill

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Gone", "Writer"]

_SERVING = layout.CONSTANTS["BACKEND_SERVING"]
_FIRST = (
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
_LAST = (
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
_ARRAYS = ("config", "pools", "backends")  # nothing can be deleted there: zeros are written

End = tuple[str, int]


class Gone(msgspec.Struct):
    """UDP flows that must go: those to these backends (numbers), and those of these frontends (version,
    address, port).
    """

    backends: set[int]
    frontends: set[tuple[int, str, int]]


class Writer:
    """Writes into `maps` and keeps `state` true to them.

    `fresh`: the maps are new, so no counter needs to be cleared.
    """

    def __init__(self, maps: Mapping[str, Fd], state: State, fresh: bool = False) -> None:
        self.maps, self.state, self.fresh = maps, state, fresh
        self._view: np.ndarray[Any, Any] | None = None

    def apply(self, changes: Sequence[Change], netns: int, index_of: Mapping[str, int]) -> Gone:
        """Make `changes` true, attachments apart.

        `netns`: the namespace's cookie. `index_of`: interfaces' numbers.

        Raises KernelError: before anything is written where a map is too small. After another failure the
        state must be read again.
        """
        return _Run(self, changes, netns, index_of).run()

    @property
    def slots(self) -> np.ndarray[Any, Any]:
        if self._view is None:
            self._view = slot_view(self.maps["slots"])
        return self._view


class _Run:
    """One apply. `first` and `last` are the entries (key, value) to write and to take away, by map."""

    def __init__(
        self, writer: Writer, changes: Sequence[Change], netns: int, index_of: Mapping[str, int]
    ) -> None:
        self.writer, self.state, self.netns, self.index_of = writer, writer.state, netns, index_of
        self.changes = list(changes)
        self.first: dict[str, dict[bytes, bytes]] = {name: {} for name in _FIRST}
        self.last: dict[str, dict[bytes, bytes]] = {name: {} for name in _LAST}
        self.tables: list[NewTable] = []
        self.released: list[int] = []  # backends
        self.wanted: set[int] = set()  # backends, of the Services that change
        self.gone = Gone(set(), set())

    def run(self) -> Gone:
        self.state.begin()
        self.services()
        self.members()
        self.simple()
        self.strays()
        self.capacities()
        fill(self.tables, self.state.slots, lambda: self.writer.slots)
        for table in self.tables:
            self.first["pools"][layout.INDEX.pack(table.pool)] = layout.POOL.pack(table.first, table.size)
        self.write()
        self.remember()
        return self.gone

    def pools(self) -> Iterator[tuple[PoolKey, Change]]:
        """The changes of pools, each with its key."""
        for change in self.changes:
            if isinstance(change.key, PoolKey):
                yield change.key, change

    def services(self) -> None:
        """Numbers for new Services; those that nothing refers to any more go last."""
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
            self.first["names"][layout.INDEX.pack(number)] = entries.name(*service)
        self.idle = [s for s in before if not state.users[s] and s in state.services]
        for service in self.idle:
            self.last["names"][layout.INDEX.pack(state.services[service])] = b""

    def members(self) -> None:
        """Backends and tables of every Service port whose pools change."""
        after = {c.key: c.new for c in self.changes}
        program = self.state.program
        touched = dict.fromkeys(key.owner for key in after if isinstance(key, PoolKey | ServingKey))
        wanted: dict[Service, dict[End, int]] = {}
        new = 0
        for own in touched:
            flags: dict[End, int] = {}
            serving = ServingKey(*own)
            for end in (after[serving] if serving in after else program.get(serving)) or ():
                flags[end] = _SERVING
            for kind in POOL_KINDS:
                key = PoolKey(*own, kind)
                pool = after[key] if key in after else program.get(key)
                if pool is not None:
                    flags.update({(m.ip, m.port): m.flags for m in pool.members})
            wanted[own] = flags
            known = self.state.backends.get(self.state.services.get(own, -1), {})
            new += sum(end not in known for end in flags)
        self.state.backend_ids.require(new)
        for own, flags in wanted.items():
            self.backends(own, flags)
        for key, change in self.pools():
            self.table(key, change)

    def backends(self, own: Service, flags: dict[End, int]) -> None:
        state, version, service = self.state, own.version, self.state.services.get(own, 0)
        numbers = state.backends.setdefault(service, {})
        first, last = self.first["backends"], self.last["backends"]
        for end, final in flags.items():
            number = numbers.get(end, 0)
            if not number:
                number = numbers[end] = state.backend_ids.take()
                if not self.writer.fresh:
                    self.first["counters"][layout.INDEX.pack(number)] = b""
                now = final
            else:
                now = state.flags[number]
            self.wanted.add(number)
            if state.flags.get(number) == final:
                continue
            key, member = layout.INDEX.pack(number), Member(*end, 0)
            first[key] = entries.backend(version, member, now | final, service)
            if now | final != final:
                last[key] = entries.backend(version, member, final, service)
            state.flags[number] = final
        for end in [e for e in numbers if e not in flags]:
            number = numbers.pop(end)
            # it stays readable: a packet under way may have chosen it
            last[layout.INDEX.pack(number)] = entries.backend(version, Member(*end, 0), 0, service)
            self.release(number, own.protocol)
        if not numbers:
            del state.backends[service]

    def release(self, number: int, protocol: str) -> None:
        self.state.flags.pop(number, None)
        self.released.append(number)
        if protocol == "udp":
            self.gone.backends.add(number)

    def table(self, key: PoolKey, change: Change) -> None:
        service = self.state.services.get(key.owner)
        if service is None:
            return
        pool = 2 * service + POOL_KINDS.index(key.pool)
        new: Pool | None = change.new
        if new is None:
            self.last["pools"][layout.INDEX.pack(pool)] = bytes(layout.POOL.size)
            self.state.slots.put_back(*self.state.tables.pop(pool, (0, 0)))
            return
        ends = [(m.ip, m.port) for m in new.members]
        old: Pool | None = change.old
        if old is not None and old.size == new.size and ends == [(m.ip, m.port) for m in old.members]:
            return
        numbers = self.state.backends[service]
        packed = [entries.hash_input(key.version, end) for end in ends]
        self.tables.append(NewTable(pool, new.size, [numbers[end] for end in ends], packed))

    def simple(self) -> None:
        """What is one entry each."""
        for change in self.changes:
            match change.key:
                case ConfigKey():
                    self.entry(
                        change, "config", layout.INDEX.pack(0), lambda v: entries.config(v, self.netns)
                    )
                case LocalKey(version, address):
                    self.entry(
                        change, f"locals{version}", entries.packed(version, address), entries.local_entry
                    )
                case InterfaceKey(name):
                    index = self.index_of.get(name)
                    if index is not None:
                        self.entry(change, "interfaces", layout.INDEX.pack(index), entries.interface)
                case RangeKey() as key:
                    packed = entries.range_key(key.version, self.state.services[key.owner], key.cidr)
                    self.entry(change, f"ranges{key.version}", packed, lambda _: layout.RANGE.pack(1))
                case FrontendKey() as key:
                    self.frontend(key, change.old, change.new)
                case AddressKey(version, address):
                    self.entry(
                        change,
                        f"frontends{version}",
                        entries.frontend_key(version, "", address, 0),
                        entries.address_entry,
                    )

    def frontend(self, key: FrontendKey, old: Listener | None, new: Listener | None) -> None:
        name, packed = (
            f"frontends{key.version}",
            entries.frontend_key(key.version, key.protocol, key.address, key.port),
        )
        if new is not None:
            number = self.state.services[Service(key.version, key.protocol, new.service)]
            self.first[name][packed] = entries.frontend_entry(new, number)
        else:
            self.last[name][packed] = b""
        moved = old is not None and (new is None or old.service != new.service)
        if moved and key.protocol == "udp":  # its flows are another Service's now, or nobody's
            self.gone.frontends.add((key.version, key.address, key.port))

    def entry(self, change: Change, name: str, key: bytes, pack: Callable[[Any], bytes]) -> None:
        if change.new is None:
            self.last[name][key] = bytes(layout.MAPS[name].value.size)
        else:
            self.first[name][key] = pack(change.new)

    def strays(self) -> None:
        """What a killed apply has left, unless it is of use again."""
        state = self.state
        strays = [change.key for change in self.changes if isinstance(change.key, StrayKey)]
        if not strays:
            return
        named = {state.services[s] for s, users in state.users.items() if users and s in state.services}
        for key in strays:
            name, number = key.map, key.entry
            if isinstance(number, str):  # the bytes of a key that no apply writes
                self.last[name][bytes.fromhex(number)] = bytes(layout.MAPS[name].value.size)
            elif name == "interfaces":
                self.last[name][layout.INDEX.pack(number)] = b""
            elif name == "names" and number not in named:
                self.last[name][layout.INDEX.pack(number)] = b""
                self.idle += [s for s, n in state.services.items() if n == number]
            elif name == "pools" and number not in {table.pool for table in self.tables}:
                self.last[name][layout.INDEX.pack(number)] = bytes(layout.POOL.size)
            elif name == "backends" and number not in self.wanted:
                self.last[name][layout.INDEX.pack(number)] = bytes(layout.BACKEND.size)
                for numbers in state.backends.values():
                    for end in [e for e, n in numbers.items() if n == number]:
                        del numbers[end]
                self.release(number, "")
            elif name.startswith("ranges"):
                self.last[name][entries.range_key(int(name[-1]), *number)] = b""

    def capacities(self) -> None:
        """Raise unless every hash has room for what is added, before what goes has gone."""
        counts = Counter(map_of(change.key) for change in self.changes if change.old is None)
        counts.pop("", None)  # what is no entry of a hash
        for name, more in counts.items():
            wanted = self.state.held(name) + more
            if wanted > self.state.capacities[name]:
                raise full(name, wanted, self.state.capacities[name])

    def write(self) -> None:
        maps = self.writer.maps
        cleared = bytes(layout.COUNTER.size * library.possible_cpus())
        for name in _FIRST:
            if batch := self.first[name]:
                values = [cleared] * len(batch) if name == "counters" else batch.values()
                library.update_batch(maps[name], b"".join(batch), b"".join(values), len(batch))
        for name in _LAST:
            if batch := self.last[name]:
                if name in _ARRAYS:
                    library.update_batch(maps[name], b"".join(batch), b"".join(batch.values()), len(batch))
                else:
                    gone = [key for key in batch if key not in self.first[name]]
                    library.delete_batch(maps[name], b"".join(gone), len(gone))

    def remember(self) -> None:
        """The state after the writes."""
        state = self.state
        for table in self.tables:
            if table.pool in state.tables:
                state.slots.put_back(*state.tables[table.pool])
            state.tables[table.pool] = table.first, table.size
        for number in self.released:
            state.backend_ids.put_back(number)
        for service in self.idle:
            if service in state.services:
                state.service_ids.put_back(state.services.pop(service))
        for change in self.changes:
            state.change(change.key, change.old, change.new)
