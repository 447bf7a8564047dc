"""bpffs: a node's maps and links are pinned there, so that they outlive the command that made them.

Each schema version has its own folder: a kcompile with other key or value formats never reads these maps.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ...errors import KernelError, UnsupportedError
from . import library
from .syscall import Fd

__all__ = [
    "MapSpec",
    "base",
    "directory",
    "fill_array",
    "is_bpffs",
    "mount",
    "open_maps",
    "open_pin",
    "pin",
    "pins",
    "remove",
    "replace",
    "require",
    "unmount",
]

_MNT_DETACH = 2
_BPF_FS_MAGIC = 0xCAFE4A11
_DEFAULT = "/sys/fs/bpf/kcompile"


class MapSpec(NamedTuple):
    """A map to make or open. Sizes in bytes; `kind` is BPF_MAP_TYPE_*, `flags` BPF_F_*."""

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


def base() -> Path:
    """$KCOMPILE_BPF_DIR, or /sys/fs/bpf/kcompile. It need not exist."""
    return Path(os.environ.get("KCOMPILE_BPF_DIR") or _DEFAULT).absolute()


def directory(schema: int, parent: Path | None = None) -> Path:
    """The folder for pins of `schema` under `parent`, by default `base`."""
    return (parent or base()) / f"v{schema}"


def is_bpffs(path: Path) -> bool:
    """Whether `path`, or the folder above it that exists, is in a bpffs."""
    while not path.exists():
        path = path.parent
    return _filesystem(path) == _BPF_FS_MAGIC


def _filesystem(path: Path) -> int:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    out = (ctypes.c_long * 64)()  # struct statfs begins with f_type
    if libc.statfs(os.fsencode(path), out) != 0:
        raise KernelError(f"{path}: {os.strerror(ctypes.get_errno())}")
    return int(out[0]) & 0xFFFFFFFF


def mount(path: Path) -> None:
    """Mount a bpffs at `path`, which must be a folder."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=0700") != 0:
        raise KernelError(f"mounting a bpffs at {path}: {os.strerror(ctypes.get_errno())}")


def unmount(path: Path) -> None:
    """Unmount the bpffs at `path` lazily (MNT_DETACH)."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
        raise KernelError(f"unmounting {path}: {os.strerror(ctypes.get_errno())}")


def require(folder: Path) -> None:
    """Raise UnsupportedError where `folder` is in no bpffs."""
    if not is_bpffs(folder):
        raise UnsupportedError(f"{folder} is not in a bpffs (mount -t bpf bpf /sys/fs/bpf)")


def open_maps(
    folder: Path, specs: Iterable[MapSpec], contents: Mapping[str, bytes] | None = None
) -> tuple[dict[str, Fd], list[str]]:
    """Open the maps pinned in `folder`; make and pin those that aren't.

    `contents`: all values of arrays, by name, which new ones are filled with.

    Returns all of them, and the names of those that are new.

    Raises UnsupportedError where `folder` is in no bpffs, KernelError where a pinned map has another shape.
    """
    require(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    maps: dict[str, Fd] = {}
    new: list[str] = []
    for spec in specs:
        path = folder / spec.name
        fd = library.obj_get(str(path), spec.name)
        if fd is None:
            fd = library.create_map(*spec[1:], name=spec.name)
            if contents and spec.name in contents:
                fill_array(fd, spec.max_entries, contents[spec.name])
            library.obj_pin(fd, str(path))
            new.append(spec.name)
        else:
            _same(fd, spec, path)
        maps[spec.name] = fd
    return maps, new


def fill_array(fd: Fd, entries: int, values: bytes) -> None:
    """Write all `entries` of an array."""
    indices = b"".join(index.to_bytes(4, sys.byteorder) for index in range(entries))
    library.update_batch(fd, indices, values, entries)


def _same(fd: Fd, spec: MapSpec, path: Path) -> None:
    info = library.map_info(fd)
    found = MapSpec(
        spec.name, info.type, info.key_size, info.value_size, info.max_entries, info.flags & ~_INTERNAL
    )
    if found != spec:
        wrong = ", ".join(
            f"{field} {have} instead of {want}"
            for field, have, want in zip(spec._fields, found, spec, strict=True)
            if have != want
        )
        raise KernelError(
            f"map {spec.name}: the one pinned at {path} has {wrong} (kcompile delete removes it)"
        )


_INTERNAL = 1 << 31  # flags that the kernel keeps for itself


def pin(fd: Fd, path: Path) -> None:
    """Pin at `path`, replacing an earlier pin; makes the folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    library.obj_pin(fd, str(path))


def replace(fd: Fd, path: Path) -> None:
    """Pin at `path` in the place of the earlier pin: whoever opens it finds one of both."""
    beside = path.with_name(f"{path.name}-next")
    pin(fd, beside)
    beside.replace(path)


def open_pin(path: Path) -> Fd | None:
    """What is pinned at `path`, or None."""
    return library.obj_get(str(path))


def pins(folder: Path) -> Iterator[Path]:
    """Everything pinned below `folder`, sorted."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if not path.is_dir():
            yield path


def remove(folder: Path) -> None:
    """Unpin everything below `folder`, and remove the folder."""
    for path in list(pins(folder)):
        path.unlink()
    folders = sorted(path for path in folder.rglob("*") if path.is_dir()) if folder.is_dir() else []
    for path in reversed(folders):
        path.rmdir()
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()
