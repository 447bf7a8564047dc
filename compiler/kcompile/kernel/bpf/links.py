"""eBPF programs and links by bpf(2): loaded, attached, replaced, listed."""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import NamedTuple

from ...errors import KernelError
from .syscall import Fd, attribute, bpf, buffer, call, failed, object_info, pointer

__all__ = [
    "LINK_CGROUP",
    "LINK_XDP",
    "LinkInfo",
    "ProgramInfo",
    "link_create",
    "link_detach",
    "link_info",
    "link_update",
    "prog_load",
    "program_by_id",
    "program_info",
    "query",
]

LINK_CGROUP, LINK_XDP = 3, 6  # enum bpf_link_type

# enum bpf_cmd
_PROG_LOAD, _PROG_BY_ID, _QUERY = 5, 13, 16
_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34


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
        if e.errno == errno.EPERM:
            raise failed(f"program {name}: loading", e) from e
        log = ctypes.create_string_buffer(1 << 24)
        try:
            return Fd(bpf(_PROG_LOAD, attr(1, log)), name)
        except OSError:
            said = log.value.decode(errors="replace").strip().splitlines()
            raise KernelError(
                f"program {name}: the kernel refuses it: {e.strerror}: {' | '.join(said[-12:])}"
            ) from e


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
        if e.errno == errno.ENOENT:
            return None
        raise failed(f"program {number}: opening", e) from e


def program_info(fd: Fd) -> ProgramInfo:
    data = object_info(fd, 224)
    kind, number, tag, _, translated = struct.unpack_from("=II8sII", data)
    name = data[64:80].rstrip(b"\0").decode()
    (verified,) = struct.unpack_from("=I", data, 216)
    return ProgramInfo(kind, number, tag.hex(), name, translated // 8, verified)


def link_info(fd: Fd) -> LinkInfo:
    data = object_info(fd, 64)
    kind, number, program = struct.unpack_from("=III", data)
    if kind == LINK_CGROUP:
        target, attach_type = struct.unpack_from("=QI", data, 16)
    else:
        target, attach_type = struct.unpack_from("=II", data, 16)
    return LinkInfo(kind, number, program, target, attach_type if kind != LINK_XDP else 0)
