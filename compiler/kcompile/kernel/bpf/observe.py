"""Everything that the maps say, as a Program, and the numbers behind it."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...program import Key
from ...targets.xdp import layout
from ...targets.xdp.resources import (
    AddressKey,
    ConfigKey,
    FrontendKey,
    InterfaceKey,
    LocalKey,
    Member,
    Pool,
    PoolKey,
    RangeKey,
    Service,
    ServiceKey,
    ServingKey,
    StrayKey,
)
from . import entries, library
from .library import Fd
from .numbers import Ids, Slots

if TYPE_CHECKING:
    import numpy as np

__all__ = ["POOL_KINDS", "State", "map_of", "needs", "netns_cookie", "read", "service_of", "slot_view"]

Flags = int

POOL_KINDS = ("cluster", "local")
_IN_POOL = {"cluster": layout.CONSTANTS["BACKEND_CLUSTER"], "local": layout.CONSTANTS["BACKEND_LOCAL"]}
_IN_ANY = sum(_IN_POOL.values())
_SERVING = layout.CONSTANTS["BACKEND_SERVING"]
_SO_NETNS_COOKIE = 71


def netns_cookie() -> int:
    """The number of the current network namespace that no other ever has (socket(7), SO_NETNS_COOKIE; Linux 5.14)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int(struct.unpack("=Q", probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0])


def service_of(key: Key, value: Any) -> Service | None:
    """The Service port whose number the resource `key` needs; None where it needs none."""
    if isinstance(key, ServiceKey):
        return key.owner
    return Service(key.version, key.protocol, value.service) if isinstance(key, FrontendKey) else None


def map_of(key: Key) -> str:
    """The hash that holds the resource `key`; empty for those that aren't one entry of a hash."""
    match key:
        case FrontendKey(version=version) | AddressKey(version=version):
            return f"frontends{version}"
        case RangeKey(version=version):
            return f"ranges{version}"
        case LocalKey(version=version):
            return f"locals{version}"
        case InterfaceKey():
            return "interfaces"
    return ""


class State:
    """What is in the maps of one node: the `program`, and the numbers that it doesn't say.

    `services`: a Service port's number. `backends`: by Service number, (ip, port) -> number. `tables`: pool number -> (first, size).
    `flags`: a backend's number -> its flags in the map, without those of free ones. `users`: how many resources name a Service.
    """

    def __init__(self, capacities: Mapping[str, int]) -> None:
        self.program: dict[Key, Any] = {}
        self.services: dict[Service, int] = {}
        self.backends: dict[int, dict[tuple[str, int], int]] = {}
        self.flags: dict[int, Flags] = {}
        self.tables: dict[int, tuple[int, int]] = {}
        self.capacities = dict(capacities)
        self.index()

    def index(self) -> None:
        """Work out what is free."""
        self.service_ids = Ids("names", self.capacities["names"], set(self.services.values()))
        self.backend_ids = Ids("backends", self.capacities["backends"], set(self.flags))
        self.slots = Slots(self.capacities["slots"], list(self.tables.values()))
        self.users = Counter(service for key, value in self.program.items() if (service := service_of(key, value)) is not None)
        self._held = Counter(map_of(key) for key in self.program)

    def held(self, name: str) -> int:
        """How many entries of ours the hash `name` holds."""
        return self._held[name]

    def begin(self) -> None:
        """A new apply: what the last one gave up can be used."""
        self.service_ids.rested()
        self.backend_ids.rested()
        self.slots.rested()

    def change(self, key: Key, old: Any, new: Any) -> None:
        """The resource `key` is `new` now (None: gone)."""
        if new is None:
            self.program.pop(key, None)
        else:
            self.program[key] = new
        self._held[map_of(key)] += (new is not None) - (old is not None)


def needs(program: Mapping[Key, Any]) -> dict[str, int]:
    """How many entries each map needs for `program`, where that depends on it."""
    counts = Counter(map_of(key) for key in program)
    pools = [value for key, value in program.items() if isinstance(key, PoolKey)]
    serving = [value for key, value in program.items() if isinstance(key, ServingKey)]
    services = len({service for key, value in program.items() if (service := service_of(key, value)) is not None}) + 1
    backends = sum(len(pool.members) for pool in pools) + sum(map(len, serving)) + 1
    slots = sum(pool.size for pool in pools)
    return {**counts, "names": services, "pools": 2 * services, "slots": slots, "backends": backends, "counters": backends}


def read(maps: Mapping[str, Fd]) -> State:
    """Read `maps` (all of layout.MAPS)."""
    state = State({name: library.map_info(fd).max_entries for name, fd in maps.items()})
    program = state.program
    value = library.lookup(maps["config"], layout.INDEX.pack(0), layout.CONFIG.size)
    config, cookie = entries.read_config(value or bytes(layout.CONFIG.size))
    if cookie:
        program[ConfigKey()] = config
    for key, entry in _entries(maps["interfaces"]):
        (index,) = layout.INDEX.unpack(key)
        try:
            program[InterfaceKey(socket.if_indextoname(index))] = entries.read_interface(entry)
        except OSError:  # the interface is gone
            program[StrayKey("interfaces", index)] = ""
    names = {layout.INDEX.unpack(key)[0]: entries.read_name(entry) for key, entry in _entries(maps["names"])}
    _services(state, names)
    _pools(state, names, maps)
    _frontends(state, names, maps)
    state.index()
    for service, number in state.services.items():
        if not state.users[service]:
            program[StrayKey("names", number)] = ""
    return state


def _entries(fd: Fd) -> Iterator[tuple[bytes, bytes]]:
    spec = layout.MAPS[fd.name]
    key_size, value_size = spec.key.size, spec.value.size
    for keys, values, count in library.lookup_batch(fd):
        for at in range(count):
            yield keys[at * key_size : (at + 1) * key_size], values[at * value_size : (at + 1) * value_size]


def slot_view(fd: Fd) -> np.ndarray[Any, Any]:
    """The memory of the map slots, a number an entry."""
    import numpy as np

    return np.frombuffer(library.map_bytes(fd), dtype=np.uint32)[::2]  # the kernel gives each entry 8 bytes


def _services(state: State, names: dict[int, Service]) -> None:
    for number, service in names.items():
        if service in state.services:  # twice: the later apply's was never finished
            state.program[StrayKey("names", number)] = ""
        else:
            state.services[service] = number


def _pools(state: State, names: dict[int, Service], maps: Mapping[str, Fd]) -> None:
    """Pools from the tables that packets follow, and the backends that they name."""
    import numpy as np

    width = layout.BACKEND.size
    raw = library.map_bytes(maps["backends"])
    heads = np.frombuffer(raw, dtype=np.dtype([("ip", "V16"), ("port", "V2"), ("family", "u1"), ("flags", "u1"), ("service", "<u4")]))
    owner = heads["service"]
    pools = np.frombuffer(library.map_bytes(maps["pools"]), dtype=[("first", "<u4"), ("size", "<u4")])
    live = np.nonzero(pools["size"])[0]
    first, size = pools["first"][live].astype(np.int64), pools["size"][live].astype(np.int64)
    view = slot_view(maps["slots"])
    inside = (first + size <= len(view)) & np.isin(live >> 1, np.fromiter(names, dtype=np.int64, count=len(names)))
    for number in live[~inside]:
        state.program[StrayKey("pools", int(number))] = ""
    live, first, size = live[inside], first[inside], size[inside]
    members: dict[int, list[int]] = {}
    if len(live):
        at = np.repeat(first - np.concatenate(([0], np.cumsum(size)[:-1])), size) + np.arange(int(size.sum()))
        pairs = np.unique(np.repeat(live, size) << 32 | view[at])
        for pool, backend in zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True):
            members.setdefault(pool, []).append(backend)
    found: dict[int, Member] = {}
    for number in np.nonzero((heads["family"] != 0) & ((heads["flags"] & (_IN_ANY | _SERVING)) != 0))[0].tolist():
        member, _, service = entries.member(raw[number * width : (number + 1) * width])
        found[number] = member
        state.flags[number] = member.flags
        state.backends.setdefault(service, {})[member.ip, member.port] = number
    for pool, table in zip(live.tolist(), zip(first.tolist(), size.tolist(), strict=True), strict=True):
        state.tables[pool] = table
        # a backend of somebody else, or one that is no more, is no member: the pool then differs from what is wanted
        own = [found[n] for n in members[pool] if n in found and owner[n] == pool >> 1]
        state.program[PoolKey(*names[pool >> 1], POOL_KINDS[pool & 1])] = Pool(table[1], tuple(sorted(own)))
    _unpooled(state, names, found, {number for numbers in members.values() for number in numbers}, owner)


def _unpooled(state: State, names: dict[int, Service], found: dict[int, Member], pooled: set[int], owner: Any) -> None:
    """Backends that no table names: those whose flows may stay, and those that a killed apply has left."""
    serving: dict[Key, list[tuple[str, int]]] = {}
    for number, member in found.items():
        if number in pooled:
            continue
        service = names.get(int(owner[number]))
        if service is None or member.flags & _IN_ANY:
            state.program[StrayKey("backends", number)] = ""
        else:
            serving.setdefault(ServingKey(*service), []).append((member.ip, member.port))
    for key, ends in serving.items():
        state.program[key] = tuple(sorted(ends))


def _frontends(state: State, names: dict[int, Service], maps: Mapping[str, Fd]) -> None:
    """Frontends, ranges and local addresses."""
    program = state.program

    def name_of(number: int) -> str:
        return names[number][2] if number in names else f"#{number}"

    for version in (4, 6):
        for key, entry in _entries(maps[f"locals{version}"]):
            program[LocalKey(version, entries.address(key))] = entries.read_local(entry)
        for key, entry in _entries(maps[f"frontends{version}"]):
            resource, value = entries.read_frontend(version, key, entry, name_of)
            program[resource] = value
        for key, _ in _entries(maps[f"ranges{version}"]):
            number, cidr = entries.read_range(version, key)
            if number in names:
                program[RangeKey(*names[number], cidr)] = ""
            else:
                program[StrayKey(f"ranges{version}", (number, cidr))] = ""
