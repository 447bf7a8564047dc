"""System calls that Python 3.11 has no function for. Each raises OSError."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = [
    "MNT_DETACH",
    "MS_BIND",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "NEWIPC",
    "NEWNET",
    "NEWNS",
    "NEWPID",
    "NEWUTS",
    "die_with_parent",
    "mount",
    "pivot_root",
    "setns",
    "umount",
    "unshare",
]

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    _checked(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() if word else None for word in (source, str(target), kind)]
    done = _libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None)
    _checked(done, f"mount {source or kind} on {target}")


def umount(target: str, flags: int) -> None:
    _checked(_libc.umount2(target.encode(), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    _checked(_libc.pivot_root(new.encode(), old.encode()), "pivot_root")


def die_with_parent() -> None:
    """SIGKILL for the calling process when its parent ends. A change of user undoes it (prctl(2))."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL), "prctl")
