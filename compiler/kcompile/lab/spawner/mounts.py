"""A container's root: this machine's root under an overlay in memory, with the pod's files and volumes.

The container may write anywhere, and nothing is left of it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

from .linux import (
    MNT_DETACH,
    MS_BIND,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    mount,
    pivot_root,
    umount,
)

__all__ = ["enter_root", "seal_root"]

_VIRTUAL = ("/proc", "/sys", "/dev", "/run")
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "ptmx": (5, 2),
}
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}


def enter_root(spec: dict[str, Any]) -> None:
    """Give the calling process, alone in its mount namespace, the container's root. Raises OSError.

    `spec` has ``directory`` (an empty folder), ``files`` (path to text), ``binds`` (``source``, ``target``,
    ``readOnly``).
    """
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    others = _host_mounts()
    base = Path(spec["directory"])
    mount("kcompile", base, "tmpfs", data="mode=755")
    upper, work, root = (base / part for part in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir()
    for name, text in spec["files"].items():
        file = upper / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    mount("overlay", root, "overlay", data=f"lowerdir=/,upperdir={upper},workdir={work}")
    for place in others:
        with contextlib.suppress(OSError):  # one that is hidden, or that we may not see
            _bind(place, root / place.lstrip("/"), read_only=True)
    mount("proc", root / "proc", "proc")
    mount("sysfs", root / "sys", "sysfs", MS_RDONLY)
    _devices(root / "dev")
    mount("tmpfs", root / "run", "tmpfs", data="mode=755")
    sources = [os.open(bind["source"], os.O_PATH | os.O_CLOEXEC) for bind in spec["binds"]]
    _pivot(root)
    for source, bind in zip(sources, spec["binds"], strict=True):
        # only now: a target may lead over an absolute link, as /var/run does
        _bind(f"/proc/self/fd/{source}", Path(bind["target"]), bind["readOnly"])
        os.close(source)
    umount("/.old", MNT_DETACH)
    Path("/.old").rmdir()


def seal_root() -> None:
    """Make the root read-only; what is mounted in it isn't."""
    mount("", "/", flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def _devices(dev: Path) -> None:
    """A /dev of the container's own: this machine's would keep what is mounted or written in it."""
    mount("tmpfs", dev, "tmpfs", data="mode=755")
    for name, numbers in _DEVICES.items():
        os.mknod(dev / name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
        (dev / name).chmod(0o666)
    for name, target in _LINKS.items():
        (dev / name).symlink_to(target)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    mount("/dev/pts", dev / "pts", flags=MS_BIND)
    mount("shm", dev / "shm", "tmpfs", data="mode=1777,size=64m")


def _pivot(root: Path) -> None:
    """Make `root` the root; the one before is at /.old."""
    (root / ".old").mkdir(exist_ok=True)
    os.chdir(root)
    pivot_root(".", ".old")
    os.chdir("/")


def _bind(source: str, target: Path, read_only: bool) -> None:
    if Path(source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def _host_mounts() -> list[str]:
    """Where this machine has file systems beside its root: an overlay over the root doesn't show them."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = line.split()[4].encode().decode("unicode_escape")
        if place != "/" and not any(place == top or place.startswith(top + "/") for top in _VIRTUAL):
            found.append(place)
    return found
