"""bpf(2) by ctypes: what of it kcompile needs, and no more.

Field offsets are those of `union bpf_attr` in linux/bpf.h.

Every failure is a KernelError that names the map, program or path; the OSError is its cause.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from typing import NamedTuple

from ...errors import KernelError, UnsupportedError

__all__ = [
    "ANY", "EXIST", "NOEXIST", "Fd", "LinkInfo", "MapInfo", "ProgramInfo", "create_map", "delete", "delete_batch", "link_create",
    "link_detach", "link_info", "link_update", "lookup", "lookup_batch", "map_bytes", "map_info", "obj_get", "obj_pin",
    "possible_cpus", "prog_load", "program_by_id", "program_info", "query", "update", "update_batch",
]  # fmt: skip

ANY, NOEXIST, EXIST = 0, 1, 2

# enum bpf_cmd
_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE, _PROG_LOAD, _OBJ_PIN, _OBJ_GET = 0, 1, 2, 3, 5, 6, 7
_PROG_BY_ID, _INFO, _QUERY = 13, 15, 16
_LOOKUP_BATCH, _UPDATE_BATCH, _DELETE_BATCH = 24, 26, 27
_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_EPERM, _ENOENT, _ENOSPC = 1, 2, 28


class Fd:
    """An open map, program or link, closed at the end of a ``with`` or of its life; `name` is what errors
    call it.
    """

    __slots__ = ("name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number, self.name = number, name

    def fileno(self) -> int:
        return self.number

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    def __enter__(self) -> Fd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.name}: fd {self.number}>"


class MapInfo(NamedTuple):
    """`id` is unique until the next boot. Sizes in bytes."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    name: str


class ProgramInfo(NamedTuple):
    type: int
    id: int
    tag: str
    name: str
    instructions: int
    verified: int


class LinkInfo(NamedTuple):
    """`target` is an interface index (XDP, tcx) or a cgroup id; `attach_type` is 0 for XDP."""

    type: int
    id: int
    program: int
    target: int
    attach_type: int


@cache
def _syscall() -> tuple[ctypes.CDLL, int]:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise UnsupportedError(
            f"eBPF on {platform.machine()}: kcompile doesn't know the number of bpf(2) there"
        )
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc, number


def bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2). Raises OSError."""
    libc, number = _syscall()
    result = int(
        libc.syscall(
            ctypes.c_long(number), ctypes.c_int(command), ctypes.byref(attr), ctypes.c_uint(len(attr))
        )
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def call(command: int, attr: ctypes.Array[ctypes.c_char], what: str) -> int:
    """bpf(2). Raises KernelError that begins with `what`."""
    try:
        return bpf(command, attr)
    except OSError as e:
        raise failed(what, e) from e


def failed(what: str, error: OSError) -> KernelError:
    """The KernelError for `error` of bpf(2)."""
    hint = " (root is needed)" if error.errno == _EPERM and os.geteuid() != 0 else ""
    return KernelError(f"{what}: {error.strerror}{hint}")


def attribute(layout: str, *values: int | bytes) -> ctypes.Array[ctypes.c_char]:
    """The part of `union bpf_attr` that a command reads: `values` in struct's `layout`, without alignment."""
    data = struct.pack("=" + layout, *values)
    return ctypes.create_string_buffer(data, len(data))


def pointer(memory: ctypes.Array[ctypes.c_char] | None) -> int:
    """Its address, 0 for None."""
    return 0 if memory is None else ctypes.addressof(memory)


def buffer(data: bytes | bytearray | memoryview) -> ctypes.Array[ctypes.c_char]:
    """A copy of `data` that has an address."""
    # not from_buffer_copy: a zero-length array has no address of its own
    return ctypes.create_string_buffer(bytes(data), max(len(data), 1))


@cache
def possible_cpus() -> int:
    """How many values an entry of a per-CPU map has, each padded to 8 bytes."""
    from pathlib import Path

    spans = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    return max(int(span.rpartition("-")[2]) for span in spans) + 1


# maps


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
        if e.errno == _ENOENT:
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
        if e.errno == _ENOENT:
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
    info = map_info(fd)
    deleted, rest = 0, bytes(keys)
    while count:
        k = buffer(rest)
        attr = attribute("QQQQIIQQ", 0, 0, pointer(k), 0, count, fd.number, 0, 0)
        try:
            bpf(_DELETE_BATCH, attr)
        except OSError as e:
            if e.errno != _ENOENT:
                raise failed(f"map {fd.name}: deleting {count} entries", e) from e
            done = _count(attr)
            deleted += done
            count -= done + 1
            rest = rest[(done + 1) * info.key_size :]
        else:
            return deleted + count
    return deleted


def lookup_batch(fd: Fd, chunk: int = 16384) -> Iterator[tuple[bytes, bytes, int]]:
    """Every entry, in pieces: packed keys, packed values, their count.

    The map may change while it is read.
    """
    info = map_info(fd)
    value_size = (
        info.value_size if info.type not in (5, 6, 10) else (info.value_size + 7 & ~7) * possible_cpus()
    )
    chunk = max(1, min(chunk, info.max_entries))
    place = ctypes.create_string_buffer(max(info.key_size, 8))
    begun = False
    while True:
        keys = ctypes.create_string_buffer(chunk * info.key_size)
        values = ctypes.create_string_buffer(chunk * value_size)
        start = pointer(place) if begun else 0
        attr = attribute(
            "QQQQIIQQ", start, pointer(place), pointer(keys), pointer(values), chunk, fd.number, 0, 0
        )
        last = False
        try:
            bpf(_LOOKUP_BATCH, attr)
        except OSError as e:
            if e.errno == _ENOSPC:  # a bucket of the hash holds more
                chunk *= 2
                continue
            if e.errno != _ENOENT:
                raise failed(f"map {fd.name}: reading all of it", e) from e
            last = True
        begun = True
        count = _count(attr)
        if count:
            yield keys.raw[: count * info.key_size], values.raw[: count * value_size], count
        if last:
            return


def _count(attr: ctypes.Array[ctypes.c_char]) -> int:
    """What the kernel wrote to `batch.count`."""
    return int(struct.unpack_from("=I", attr, 32)[0])


def map_bytes(fd: Fd) -> memoryview:
    """The memory of an array map made with BPF_F_MMAPABLE (0x400), to read and write in place.

    Its elements are padded to 8 bytes.
    """
    import mmap

    info = map_info(fd)
    size = (info.value_size + 7 & ~7) * info.max_entries
    try:
        memory = mmap.mmap(fd.number, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
    except OSError as e:
        raise failed(f"map {fd.name}: mapping its memory", e) from e
    return memoryview(memory)[:size]


# pins


def obj_pin(fd: Fd, path: str) -> None:
    """Pin a map, program or link at `path`, in a bpffs."""
    p = buffer(os.fsencode(path) + b"\0")
    call(_OBJ_PIN, attribute("QII", pointer(p), fd.number, 0), f"{fd.name}: pinning at {path}")


def obj_get(path: str, name: str = "") -> Fd | None:
    """What is pinned at `path`; None where there is nothing."""
    p = buffer(os.fsencode(path) + b"\0")
    try:
        return Fd(bpf(_OBJ_GET, attribute("QII", pointer(p), 0, 0)), name or os.path.basename(path))  # noqa: PTH119 (a string all the way)
    except OSError as e:
        if e.errno == _ENOENT:
            return None
        raise failed(f"{path}: opening the pin", e) from e


# programs


def prog_load(kind: int, instructions: bytes, name: str, attach_type: int = 0, licence: str = "GPL") -> Fd:
    """Load a program of type `kind` (BPF_PROG_TYPE_*).

    Where the verifier refuses it, the error ends with the last lines of its log.
    """
    code, lic = buffer(instructions), buffer(licence.encode() + b"\0")

    def attr(level: int, log: ctypes.Array[ctypes.c_char] | None) -> ctypes.Array[ctypes.c_char]:
        head = (
            kind,
            len(instructions) // 8,
            pointer(code),
            pointer(lic),
            level,
            len(log) if log else 0,
            pointer(log),
        )
        return attribute("IIQQIIQII16sII", *head, 0, 0, name.encode()[:15], 0, attach_type)

    try:
        return Fd(bpf(_PROG_LOAD, attr(0, None)), name)
    except OSError as e:
        if e.errno == _EPERM:
            raise failed(f"program {name}: loading", e) from e
        log = ctypes.create_string_buffer(1 << 24)
        try:
            return Fd(bpf(_PROG_LOAD, attr(1, log)), name)
        except OSError:
            said = log.value.decode(errors="replace").strip().splitlines()
            raise KernelError(
                f"program {name}: the kernel refuses it: {e.strerror}: {' | '.join(said[-12:])}"
            ) from e


# links


def link_create(program: Fd, target: int, attach_type: int, flags: int = 0) -> Fd:
    """Attach `program` to `target`: an interface index, or the descriptor of a cgroup's directory.

    It stays as long as a descriptor or pin of the link does.
    """
    attr = attribute("IIIIIIQ", program.number, target, attach_type, flags, 0, 0, 0)
    return Fd(call(_LINK_CREATE, attr, f"program {program.name}: attaching"), f"link of {program.name}")


def link_update(link: Fd, program: Fd) -> None:
    """Put `program` in the place of the link's program; no packet meets neither."""
    attr = attribute("IIII", link.number, program.number, 0, 0)
    call(_LINK_UPDATE, attr, f"program {program.name}: replacing the attached one")


def link_detach(link: Fd) -> None:
    """Detach, whoever else holds the link."""
    call(_LINK_DETACH, attribute("I", link.number), f"{link.name}: detaching")


def query(target: int, attach_type: int) -> tuple[int, ...]:
    """Ids of the programs attached to `target`, in their order."""
    ids = ctypes.create_string_buffer(4 * 64)
    attr = attribute("IIIIQIIQQQQ", target, attach_type, 0, 0, pointer(ids), 64, 0, 0, 0, 0, 0)
    call(_QUERY, attr, "listing attached programs")
    (count,) = struct.unpack_from("=I", attr, 24)
    return struct.unpack_from(f"={count}I", ids)


def program_by_id(number: int) -> Fd | None:
    """The program with id `number`; None where it is gone."""
    try:
        return Fd(bpf(_PROG_BY_ID, attribute("III", number, 0, 0)), f"program {number}")
    except OSError as e:
        if e.errno == _ENOENT:
            return None
        raise failed(f"program {number}: opening", e) from e


# information


def _info(fd: Fd, size: int) -> bytes:
    out = ctypes.create_string_buffer(size)
    call(_INFO, attribute("IIQ", fd.number, size, pointer(out)), f"{fd.name}: reading what it is")
    return out.raw


def map_info(fd: Fd) -> MapInfo:
    kind, number, key, value, entries, flags, name = struct.unpack_from("=6I16s", _info(fd, 80))
    return MapInfo(kind, number, key, value, entries, flags, name.rstrip(b"\0").decode())


def program_info(fd: Fd) -> ProgramInfo:
    data = _info(fd, 224)
    kind, number, tag, _, translated = struct.unpack_from("=II8sII", data)
    name = data[64:80].rstrip(b"\0").decode()
    (verified,) = struct.unpack_from("=I", data, 216)
    return ProgramInfo(kind, number, tag.hex(), name, translated // 8, verified)


def link_info(fd: Fd) -> LinkInfo:
    data = _info(fd, 64)
    kind, number, program = struct.unpack_from("=III", data)
    if kind == 3:  # BPF_LINK_TYPE_CGROUP
        target, attach_type = struct.unpack_from("=QI", data, 16)
    else:
        target, attach_type = struct.unpack_from("=II", data, 16)
    return LinkInfo(kind, number, program, target, attach_type if kind != 6 else 0)
