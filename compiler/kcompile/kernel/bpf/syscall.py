"""bpf(2) by ctypes: the call itself, file descriptors, pins, and what the kernel says about an object.

Field offsets are those of `union bpf_attr` in linux/bpf.h. `bpf` raises OSError; everything else raises
KernelError, which names the map, program or path and has the OSError for its cause.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from functools import cache
from types import TracebackType

from ...errors import KernelError, UnsupportedError

__all__ = [
    "Fd",
    "attribute",
    "bpf",
    "buffer",
    "call",
    "failed",
    "obj_get",
    "obj_pin",
    "object_info",
    "pointer",
]

_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_OBJ_PIN, _OBJ_GET, _INFO = 6, 7, 15  # enum bpf_cmd


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
    hint = " (root is needed)" if error.errno == errno.EPERM and os.geteuid() != 0 else ""
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
        if e.errno == errno.ENOENT:
            return None
        raise failed(f"{path}: opening the pin", e) from e


def object_info(fd: Fd, size: int) -> bytes:
    """The first `size` bytes of struct bpf_map_info, bpf_prog_info or bpf_link_info of `fd`."""
    out = ctypes.create_string_buffer(size)
    call(_INFO, attribute("IIQ", fd.number, size, pointer(out)), f"{fd.name}: reading what it is")
    return out.raw
