"""Reads the maps: their Program, and the numbers of its Services, backends and tables."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
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
from .numbers import Ids, Slots
from .syscall import Fd

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "POOL_KINDS",
    "State",
    "backend_rows",
    "map_entries",
    "map_of",
    "needs",
    "pool_rows",
    "read",
    "service_of",
    "slot_view",
]

Flags = int

POOL_KINDS = ("cluster", "local")
_IN_POOL = {"cluster": layout.CONSTANTS["BACKEND_CLUSTER"], "local": layout.CONSTANTS["BACKEND_LOCAL"]}
_IN_ANY = sum(_IN_POOL.values())
_SERVING = layout.CONSTANTS["BACKEND_SERVING"]
_UNKNOWN = Member("", 0, 0)


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
    """The contents of a node's maps: the `program`, and the numbers that a Program doesn't have.

    `services`: a Service port's number. `backends`: by Service number, (ip, port) -> number. `tables`: pool
    number -> (first, size). `flags`: a backend's number -> its flags in the map, without those of free ones.
    `users`: how many resources name a Service.
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
        """Find the free numbers and slots, after a read."""
        # a kill while maps grow can leave one of two that belong together behind
        names = min(self.capacities["names"], self.capacities["pools"] // 2)
        backends = min(self.capacities["backends"], self.capacities["counters"])
        self.service_ids = Ids("names", names, set(self.services.values()))
        self.backend_ids = Ids("backends", backends, set(self.flags))
        self.slots = Slots(self.capacities["slots"], list(self.tables.values()))
        self.users = Counter(
            service for key, value in self.program.items() if (service := service_of(key, value)) is not None
        )
        self._held = Counter(map_of(key) for key in self.program)

    def held(self, name: str) -> int:
        """How many entries of ours the hash `name` holds."""
        return self._held[name]

    def begin(self) -> None:
        """A new apply begins: numbers and slots that the last one freed can be used."""
        self.service_ids.release()
        self.backend_ids.release()
        self.slots.release()

    def forget_backend(self, number: int) -> None:
        """No Service has the backend `number` any more."""
        for numbers in self.backends.values():
            for end in [end for end, found in numbers.items() if found == number]:
                del numbers[end]

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
    named = {service_of(key, value) for key, value in program.items()}
    services = len(named - {None}) + 1
    backends = sum(len(pool.members) for pool in pools) + sum(map(len, serving)) + 1
    slots = sum(pool.size for pool in pools)
    return {
        **counts,
        "names": services,
        "pools": 2 * services,
        "slots": slots,
        "backends": backends,
        "counters": backends,
    }


def read(maps: Mapping[str, Fd]) -> State:
    """Read `maps` (all of layout.MAPS)."""
    state = State({name: library.map_info(fd).max_entries for name, fd in maps.items()})
    program = state.program
    value = library.lookup(maps["config"], layout.INDEX.pack(0), layout.CONFIG.size)
    config, cookie = entries.read_config(value or bytes(layout.CONFIG.size))
    if cookie and _same(partial(_one, entries.config, config, cookie), value):
        program[ConfigKey()] = config
    _interfaces(program, maps["interfaces"])
    names = _names(program, maps["names"])
    _services(state, names)
    _pools(state, names, maps)
    _frontends(state, names, maps)
    state.index()
    for service, number in state.services.items():
        if not state.users[service]:
            program[StrayKey("names", number)] = ""
    return state


def map_entries(fd: Fd) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each entry of a map of layout.MAPS."""
    spec = layout.MAPS[fd.name]
    key_size, value_size = spec.key.size, spec.value.size
    for keys, values, count in library.lookup_batch(fd):
        for at in range(count):
            yield keys[at * key_size : (at + 1) * key_size], values[at * value_size : (at + 1) * value_size]


def _same(encode: Callable[[], tuple[bytes, ...]], *found: bytes | None) -> bool:
    """True if `encode` returns the bytes `found`; False also where it fails, for an entry no apply writes."""
    try:
        return encode() == found
    except (KeyError, ValueError, OSError, struct.error):
        return False


def _one(encode: Callable[..., bytes], *arguments: Any) -> tuple[bytes]:
    return (encode(*arguments),)


def _foreign(program: dict[Key, Any], name: str, key: bytes) -> None:
    """Note an entry of map `name` that no apply writes, so that the next one removes it by its `key`."""
    program[StrayKey(name, key.hex())] = ""


def _interfaces(program: dict[Key, Any], fd: Fd) -> None:
    for key, entry in map_entries(fd):
        (index,) = layout.INDEX.unpack(key)
        try:
            name = socket.if_indextoname(index)
        except OSError:  # the interface is gone
            program[StrayKey("interfaces", index)] = ""
            continue
        value = entries.read_interface(entry)
        if _same(partial(_one, entries.interface, value), entry):
            program[InterfaceKey(name)] = value
        else:
            _foreign(program, "interfaces", key)


def _names(program: dict[Key, Any], fd: Fd) -> dict[int, Service]:
    """Number -> Service port."""
    names: dict[int, Service] = {}
    for key, entry in map_entries(fd):
        service = entries.read_name(entry)
        if _same(partial(_one, entries.name, *service), entry):
            names[layout.INDEX.unpack(key)[0]] = service
        else:
            _foreign(program, "names", key)
    return names


def slot_view(fd: Fd) -> np.ndarray[Any, Any]:
    """The memory of the map slots, a number an entry."""
    import numpy as np

    return np.frombuffer(library.map_bytes(fd), dtype=np.uint32)[::2]  # the kernel gives each entry 8 bytes


def backend_rows(fd: Fd) -> np.ndarray[Any, Any]:
    """The memory of the map backends."""
    import numpy as np

    fields = [("ip", "V16"), ("port", "V2"), ("family", "u1"), ("flags", "u1"), ("service", "<u4")]
    return np.frombuffer(library.map_bytes(fd), dtype=np.dtype(fields))


def pool_rows(fd: Fd) -> np.ndarray[Any, Any]:
    """The memory of the map pools."""
    import numpy as np

    return np.frombuffer(library.map_bytes(fd), dtype=[("first", "<u4"), ("size", "<u4")])


def _services(state: State, names: dict[int, Service]) -> None:
    for number, service in names.items():
        if service in state.services:  # a second number, from an apply that was killed
            state.program[StrayKey("names", number)] = ""
        else:
            state.services[service] = number


def _pools(state: State, names: dict[int, Service], maps: Mapping[str, Fd]) -> None:
    """Pools, read from their tables, and the backends in these."""
    import numpy as np

    width = layout.BACKEND.size
    raw = library.map_bytes(maps["backends"])
    heads = backend_rows(maps["backends"])
    owner = heads["service"]
    pools = pool_rows(maps["pools"])
    live = np.nonzero(pools["size"])[0]
    first, size = pools["first"][live].astype(np.int64), pools["size"][live].astype(np.int64)
    view = slot_view(maps["slots"])
    known = np.fromiter(names, dtype=np.int64, count=len(names))
    inside = (first + size <= len(view)) & np.isin(live >> 1, known)
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
    used = (heads["family"] != 0) & ((heads["flags"] & (_IN_ANY | _SERVING)) != 0)
    for number in np.nonzero(used)[0].tolist():
        member, _, service = entries.member(raw[number * width : (number + 1) * width])
        found[number] = member
        state.flags[number] = member.flags
        state.backends.setdefault(service, {})[member.ip, member.port] = number
    for pool, table in zip(live.tolist(), zip(first.tolist(), size.tolist(), strict=True), strict=True):
        state.tables[pool] = table
        own = sorted(found[n] for n in members[pool] if n in found and owner[n] == pool >> 1)
        # a backend of another Service, or a removed one, is no member: _UNKNOWN makes the pool differ from
        # any desired one
        unknown = [_UNKNOWN] if len(own) < len(members[pool]) else []
        state.program[PoolKey(*names[pool >> 1], POOL_KINDS[pool & 1])] = Pool(table[1], (*own, *unknown))
    _unpooled(state, names, found, {number for numbers in members.values() for number in numbers}, owner)


def _unpooled(
    state: State, names: dict[int, Service], found: dict[int, Member], pooled: set[int], owner: Any
) -> None:
    """Backends in no table: those that serve their flows only, and those that a killed apply has left."""
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
    for version in (4, 6):
        _locals(state.program, f"locals{version}", maps)
        _listeners(state, names, version, maps[f"frontends{version}"])
        _ranges(state.program, names, version, maps[f"ranges{version}"])


def _locals(program: dict[Key, Any], name: str, maps: Mapping[str, Fd]) -> None:
    version = int(name[-1])
    for key, entry in map_entries(maps[name]):
        value = entries.read_local(entry)
        if _same(partial(_one, entries.local_entry, value), entry):
            program[LocalKey(version, entries.address(key))] = value
        else:
            _foreign(program, name, key)


def _listeners(state: State, names: dict[int, Service], version: int, fd: Fd) -> None:
    def name_of(number: int) -> str:
        return names[number][2] if number in names else f"#{number}"

    def encoded(resource: Key, value: Any) -> tuple[bytes, bytes]:
        if isinstance(resource, AddressKey):
            return entries.frontend_key(version, "", resource.address, 0), entries.address_entry(value)
        assert isinstance(resource, FrontendKey)
        service = state.services[Service(version, resource.protocol, value.service)]
        packed = entries.frontend_key(resource.version, resource.protocol, resource.address, resource.port)
        return packed, entries.frontend_entry(value, service)

    for key, entry in map_entries(fd):
        resource, value = entries.read_frontend(version, key, entry, name_of)
        if _same(partial(encoded, resource, value), key, entry):
            state.program[resource] = value
        else:
            _foreign(state.program, f"frontends{version}", key)


def _ranges(program: dict[Key, Any], names: dict[int, Service], version: int, fd: Fd) -> None:
    for key, entry in map_entries(fd):
        number, cidr = entries.read_range(version, key)
        if not _same(partial(_range, version, number, cidr), key, entry) or (
            number in names and names[number].version != version
        ):
            _foreign(program, f"ranges{version}", key)
        elif number in names:
            program[RangeKey(*names[number], cidr)] = ""
        else:
            program[StrayKey(f"ranges{version}", (number, cidr))] = ""


def _range(version: int, number: int, cidr: str) -> tuple[bytes, bytes]:
    if "/-" in cidr:
        raise ValueError("shorter than the number of its Service")
    return entries.range_key(version, number, cidr), layout.RANGE.pack(1)
