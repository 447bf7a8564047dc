"""Sysctls of the current network namespace: /proc/sys, or in a container, whose own /proc/sys is read-only,
$KCOMPILE_SYSCTL_DIR.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import KernelError

__all__ = ["read", "write"]


_NAME = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_-]+)+")


def _path(name: str) -> Path:
    """Raises KernelError for what is no name of a sysctl: it must not lead out of the folder."""
    if not _NAME.fullmatch(name):
        raise KernelError(f"sysctl {name!r}: no such name")
    return Path(os.environ.get("KCOMPILE_SYSCTL_DIR") or "/proc/sys") / name.replace(".", "/")


def read(name: str) -> str | None:
    """The value of `name`, None where this kernel or namespace has no such sysctl."""
    try:
        return " ".join(_path(name).read_text().split())
    except FileNotFoundError:
        return None


def write(name: str, value: str) -> None:
    """Set `name`; raises KernelError where that is refused."""
    try:
        _path(name).write_text(value)
    except OSError as e:
        raise KernelError(f"sysctl {name} = {value}: {e.strerror}") from None
