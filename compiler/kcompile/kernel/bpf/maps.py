"""eBPF maps by bpf(2): made, read and written, one entry or thousands a call."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .syscall import Fd, attribute, bpf, buffer, call, failed, object_info, pointer

__all__ = [
    "ANY",
    "EXIST",
    "NOEXIST",
    "MapInfo",
    "create_map",
    "delete",
    "delete_batch",
    "lookup",
    "lookup_batch",
    "map_bytes",
    "map_info",
    "possible_cpus",
    "update",
    "update_batch",
]

ANY, NOEXIST, EXIST = 0, 1, 2  # BPF_ANY, BPF_NOEXIST, BPF_EXIST

# enum bpf_cmd
_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE = 0, 1, 2, 3
_LOOKUP_BATCH, _UPDATE_BATCH, _DELETE_BATCH = 24, 26, 27
# BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY, _LRU_PERCPU_HASH
_PER_CPU = (5, 6, 10)


class MapInfo(NamedTuple):
    """`id` is unique until the next boot. Sizes in bytes."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


@cache
def possible_cpus() -> int:
    """How many values an entry of a per-CPU map has, each padded to 8 bytes."""
    spans = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    return max(int(span.rpartition("-")[2]) for span in spans) + 1


def create_map(
    kind: int, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
) -> Fd:
    """A new map of `kind` (BPF_MAP_TYPE_*)."""
    attr = attribute("5I2I16s", kind, key_size, value_size, max_entries, flags, 0, 0, name.encode()[:15])
    return Fd(call(_MAP_CREATE, attr, f"map {name}: creating it ({max_entries} entries)"), name)


def lookup(fd: Fd, key: bytes, value_size: int) -> bytes | None:
    """The value at `key`, None where there is none.

    `value_size` counts the values of all CPUs of a per-CPU map.
    """
    k, value = buffer(key), ctypes.create_string_buffer(value_size)
    try:
        bpf(_LOOKUP, attribute("IIQQQ", fd.number, 0, pointer(k), pointer(value), 0))
    except OSError as e:
        if e.errno == errno.ENOENT:
            return None
        raise failed(f"map {fd.name}: reading", e) from e
    return value.raw


def update(fd: Fd, key: bytes, value: bytes, flags: int = ANY) -> None:
    """Set the value at `key`."""
    k, v = buffer(key), buffer(value)
    call(_UPDATE, attribute("IIQQQ", fd.number, 0, pointer(k), pointer(v), flags), f"map {fd.name}: writing")


def delete(fd: Fd, key: bytes) -> bool:
    """Remove `key`; False where it wasn't there."""
    k = buffer(key)
    try:
        bpf(_DELETE, attribute("IIQQQ", fd.number, 0, pointer(k), 0, 0))
    except OSError as e:
        if e.errno == errno.ENOENT:
            return False
        raise failed(f"map {fd.name}: deleting", e) from e
    return True


def update_batch(
    fd: Fd, keys: bytes | bytearray | memoryview, values: bytes | bytearray | memoryview, count: int
) -> None:
    """Write `count` entries; where it fails, the error says how many had been written."""
    if not count:
        return
    k, v = buffer(keys), buffer(values)
    attr = attribute("QQQQIIQQ", 0, 0, pointer(k), pointer(v), count, fd.number, 0, 0)
    try:
        bpf(_UPDATE_BATCH, attr)
    except OSError as e:
        raise failed(f"map {fd.name}: writing {count} entries ({_count(attr)} written)", e) from e


def delete_batch(fd: Fd, keys: bytes | bytearray | memoryview, count: int) -> int:
    """Remove `count` keys; those that aren't there are passed over. Returns how many were."""
    size, k = map_info(fd).key_size, buffer(keys)
    deleted = at = 0
    while at < count:
        attr = attribute("QQQQIIQQ", 0, 0, pointer(k) + at * size, 0, count - at, fd.number, 0, 0)
        try:
            bpf(_DELETE_BATCH, attr)
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise failed(f"map {fd.name}: deleting {count} entries", e) from e
            done = _count(attr)
            deleted += done
            at += done + 1
        else:
            return deleted + count - at
    return deleted


def lookup_batch(fd: Fd, chunk: int = 16384) -> Iterator[tuple[bytes, bytes, int]]:
    """Every entry, in pieces: packed keys, packed values, their count.

    The map may change while it is read.
    """
    info = map_info(fd)
    value_size = info.value_size
    if info.type in _PER_CPU:
        value_size = _padded(value_size) * possible_cpus()
    chunk = max(1, min(chunk, info.max_entries))
    cursor = ctypes.create_string_buffer(max(info.key_size, 8))
    begun = False
    while True:
        keys = ctypes.create_string_buffer(chunk * info.key_size)
        values = ctypes.create_string_buffer(chunk * value_size)
        start = pointer(cursor) if begun else 0
        attr = attribute(
            "QQQQIIQQ", start, pointer(cursor), pointer(keys), pointer(values), chunk, fd.number, 0, 0
        )
        last = False
        try:
            bpf(_LOOKUP_BATCH, attr)
        except OSError as e:
            if e.errno == errno.ENOSPC:  # a bucket of the hash holds more
                chunk *= 2
                continue
            if e.errno != errno.ENOENT:
                raise failed(f"map {fd.name}: reading all of it", e) from e
            last = True
        begun = True
        count = _count(attr)
        if count:
            yield keys.raw[: count * info.key_size], values.raw[: count * value_size], count
        if last:
            return


def _padded(size: int) -> int:
    """`size` rounded up to 8 bytes."""
    return size + 7 & ~7


def _count(attr: ctypes.Array[ctypes.c_char]) -> int:
    """What the kernel wrote to `batch.count`."""
    return int(struct.unpack_from("=I", attr, 32)[0])


def map_bytes(fd: Fd) -> memoryview:
    """The memory of an array map made with BPF_F_MMAPABLE (0x400), to read and write in place.

    Its elements are padded to 8 bytes.
    """
    import mmap

    info = map_info(fd)
    size = _padded(info.value_size) * info.max_entries
    try:
        memory = mmap.mmap(fd.number, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
    except OSError as e:
        raise failed(f"map {fd.name}: mapping its memory", e) from e
    return memoryview(memory)[:size]


def map_info(fd: Fd) -> MapInfo:
    kind, number, key, value, entries, flags, name = struct.unpack_from("=6I16s", object_info(fd, 80))
    return MapInfo(kind, number, key, value, entries, flags, name.rstrip(b"\0").decode())
