"""The eBPF programs: compiled, cached by sources and flags, and loaded with a node's maps.

Compiled programs are files named by the hash of their sources and flags, in two folders: one that a wheel
carries (hatch_build.py), and the cache. Only what neither has is compiled. See
docs/adr/0019-compiled-programs-in-the-wheel.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ...errors import KernelError, UnsafeError
from ...files import check_folder, private_folder, read_private, write_whole
from ..places import run_base
from . import compiler, library
from .syscall import Fd

__all__ = [
    "BARE_DEFINES",
    "BCC",
    "KINDS",
    "Objects",
    "Program",
    "VARIANTS",
    "cache_directory",
    "compile_file",
    "compile_text",
    "compile_variants",
    "load",
    "load_one",
    "missing",
    "numbers",
    "shipped",
    "sources",
]

# program type, expected attach type: linux/bpf.h
_TC, _XDP, _SOCK_ADDR = 3, 6, 18
KINDS = {
    "ingress": (_TC, 0),
    "egress": (_TC, 0),
    "xdp": (_XDP, 37),
    "connect4": (_SOCK_ADDR, 10),
    "connect6": (_SOCK_ADDR, 11),
    "sendmsg4": (_SOCK_ADDR, 14),
    "sendmsg6": (_SOCK_ADDR, 15),
    "recvmsg4": (_SOCK_ADDR, 19),
    "recvmsg6": (_SOCK_ADDR, 20),
    "getpeername4": (_SOCK_ADDR, 29),
    "getpeername6": (_SOCK_ADDR, 30),
}
"""What each program of bpf/*.c is: its BPF_PROG_TYPE_* and BPF_* attach type."""

BARE_DEFINES = ("MAC_LENGTH=0",)
"""Make the programs of tc.c for interfaces whose packets have no Ethernet header."""

VARIANTS = (("tc.c", ()), ("tc.c", BARE_DEFINES), ("xdp.c", ()), ("sock.c", ()))
"""Every source file and its defines, of which a node may load the programs."""

BCC = compiler.DEBIAN
"""The file by which bcc is known to be installed."""

_SEAL = 32
_LD_IMM64, _PSEUDO_MAP_FD = 0x18, 1
_MAP = re.compile(r"^MAP\((\d+), (\w+),", re.MULTILINE)


class Program(msgspec.Struct):
    """`maps`: for each instruction that loads a map, its index and the map's name."""

    instructions: bytes
    maps: list[tuple[int, str]]


class Objects(msgspec.Struct):
    """The programs of one source file, by name."""

    programs: dict[str, Program]

    def maps(self) -> set[str]:
        """Names of all the maps that the programs use."""
        return {name for program in self.programs.values() for _, name in program.maps}


def sources() -> Path:
    """The folder of the C sources: bpf/ of a checkout, or the copy that an installed package carries."""
    checkout = Path(__file__).parents[4] / "bpf"
    return checkout if (checkout / "maps.h").exists() else Path(__file__).with_name("sources")


def cache_directory() -> Path:
    """Where compiled programs are kept: $KCOMPILE_CACHE_DIR, or below $KCOMPILE_RUN_DIR, or /run/kcompile."""
    if own := os.environ.get("KCOMPILE_CACHE_DIR"):
        return Path(own)
    return run_base() / "objects"


def shipped() -> Path:
    """The folder of the compiled programs that an installed package carries; a checkout has none."""
    return Path(__file__).with_name("objects")


def missing() -> str:
    """The file that mode xdp lacks: bcc's, where the package lacks a compiled program of its sources.

    Empty if nothing is missing.
    """
    if BCC.exists():
        return ""
    texts = (((sources() / name).read_text(), defines) for name, defines in VARIANTS)
    carried = all((shipped() / _digest(text, _flags(defines))).exists() for text, defines in texts)
    return "" if carried else str(BCC)


def compile_variants(folder: Path) -> None:
    """Compile all of VARIANTS into `folder`, as `shipped` has them. Raises as compile_text."""
    for name, defines in VARIANTS:
        compile_text((sources() / name).read_text(), defines, folder)


def compile_file(name: str, defines: Iterable[str] = (), cache: Path | None = None) -> Objects:
    """The programs of bpf/`name`, compiled only where neither package nor cache has them."""
    return compile_text((sources() / name).read_text(), defines, cache)


def compile_text(text: str, defines: Iterable[str] = (), cache: Path | None = None) -> Objects:
    """The programs of a C text that may include bpf/'s headers.

    `defines`: ``NAME`` or ``NAME=VALUE``. `cache`: cache_directory() by default. Raises KernelError with the
    compiler's messages, UnsupportedError where it must be compiled and bcc is missing.
    """
    flags = _flags(defines)
    name = _digest(text, flags)
    if (carried := _opened(shipped() / name)) is not None:
        return carried
    path = (cache if cache is not None else cache_directory()).resolve() / name
    if (cached := _cached(path)) is not None:
        return cached
    objects = _compiled(text, flags)
    _keep(path, objects)
    return objects


def _flags(defines: Iterable[str]) -> list[str]:
    return [f"-D{define}" for define in defines]


def _digest(text: str, flags: list[str]) -> str:
    """The name of what is compiled of `text`: a hash of it, `flags` and all headers."""
    folder = sources()
    contents = [
        (str(header.relative_to(folder)), header.read_text()) for header in sorted(folder.rglob("*.h"))
    ]
    return hashlib.sha256(repr((text, flags, contents)).encode()).hexdigest()[:32]


def _compiled(text: str, flags: list[str]) -> Objects:
    folder = sources()
    declared = _MAP.findall((folder / "maps.h").read_text()) + _MAP.findall(text)
    names = {int(number): name for number, name in declared}
    warnings = ("-Wall", "-Werror", "-Wno-unused-function")
    job = compiler.Job(text, [f"-I{folder}", *warnings, *flags], str(folder / "stubs"))
    result = compiler.run(job)
    return Objects({name: _named(name, code, names) for name, code in result.functions.items()})


def _opened(path: Path, data: bytes | None = None) -> Objects | None:
    """The objects in the file at `path`, or in `data`, read from there.

    None where there are none, or their hash (of name and content) is wrong.
    """
    try:
        data = path.read_bytes() if data is None else data
        sealed = data[:_SEAL] == _seal(path, data[_SEAL:])
        return msgspec.msgpack.decode(data[_SEAL:], type=Objects) if sealed else None
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def _cached(path: Path) -> Objects | None:
    """What `_opened` returns of a file of the cache. Raises UnsafeError where others can write there."""
    check_folder(path.parent)
    try:
        return _opened(path, read_private(path))
    except (FileNotFoundError, PermissionError):
        return None


def _keep(path: Path, objects: Objects) -> None:
    """Cache `objects`, if there is room."""
    data = msgspec.msgpack.encode(objects)
    try:
        private_folder(path.parent)
        write_whole(path, _seal(path, data) + data, private=True)
    except UnsafeError:
        raise
    except (KernelError, OSError):
        return


def _seal(path: Path, data: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + b"\0" + data).digest()


def _named(function: str, code: bytes, names: Mapping[int, str]) -> Program:
    """`code` with its map numbers replaced by names."""
    maps = []
    for index in range(len(code) // 8):
        operation, registers, _, number = struct.unpack_from("=BBhi", code, index * 8)
        if operation == _LD_IMM64 and registers >> 4 == _PSEUDO_MAP_FD:
            if number not in names:
                raise KernelError(f"program {function}: map {number} is not in bpf/maps.h")
            maps.append((index, names[number]))
    return Program(code, maps)


def load(
    objects: Objects, maps: Mapping[str, Fd], kinds: Mapping[str, tuple[int, int]] = KINDS
) -> dict[str, Fd]:
    """Load every program, with the descriptors of `maps` where it names them."""
    return {name: load_one(name, program, maps, kinds[name]) for name, program in objects.programs.items()}


def load_one(name: str, program: Program, maps: Mapping[str, Fd], kind: tuple[int, int]) -> Fd:
    """Load one program of `kind` (type, attach type)."""
    code = bytearray(program.instructions)
    for index, wanted in program.maps:
        if wanted not in maps:
            raise KernelError(f"program {name}: map {wanted} is missing")
        struct.pack_into("=i", code, index * 8 + 4, maps[wanted].number)
    return library.prog_load(kind[0], bytes(code), name, kind[1])


def numbers(expressions: Iterable[str], cache: Path | None = None) -> list[int]:
    """The values of constant C expressions over bpf/'s headers: ``sizeof(struct flow4)``, ``FLOW_REPLY``."""
    lines = [
        f"int number{i}(void *context) {{ return {expression}; }}" for i, expression in enumerate(expressions)
    ]
    includes = [f'#include "{name}.h"' for name in ("consts", "structs", "maps")]
    programs = compile_text("\n".join([*includes, *lines]), (), cache).programs
    codes = [programs[f"number{i}"].instructions for i in range(len(lines))]
    return [struct.unpack_from("=i", code, 4)[0] for code in codes]  # of "r0 = immediate; exit"
