"""Resource limits by cgroup v2, where this machine has the controllers.

A container's group is ``kcompile-LAB/NAMESPACE.POD.CONTAINER`` below the root of the hierarchy. `remove` is
for `down`: a group without processes is only a folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .quantity import amount

__all__ = ["Cgroups", "limits", "remove"]

ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds; the kernel's default, and the kubelet's
_NEEDED = ("cpu", "memory")


def limits(resources: Mapping[str, Any]) -> dict[str, str]:
    """The files of a group and what to write into them, for a container's resources. Raises ValueError."""
    found = {}
    given = resources.get("limits") or {}
    if "cpu" in given:
        quota = max(int(amount(str(given["cpu"])) * _PERIOD), 1000)
        found["cpu.max"] = f"{quota} {_PERIOD}"
    if "memory" in given:
        found["memory.max"] = str(int(amount(str(given["memory"]))))
    return found


class Cgroups:
    """The groups of one lab. `works` is False where this machine has no cgroup v2 with cpu and memory."""

    def __init__(self, lab: str, root: Path = ROOT) -> None:
        self._root = root
        self._folder = root / f"kcompile-{lab}"
        self.works = self._enable(root)

    def make(self, name: str, files: Mapping[str, str]) -> Path | None:
        """The group of a container with these limits; None without limits, or where they can't be set."""
        if not files or not self.works:
            return None
        self._folder.mkdir(exist_ok=True)
        self._enable(self._folder)
        path = self._folder / name
        path.mkdir(exist_ok=True)
        for file, value in files.items():
            (path / file).write_text(value)
        return path

    @staticmethod
    def drop(path: Path) -> None:
        """Remove a group whose processes have ended."""
        with contextlib.suppress(OSError):
            path.rmdir()

    @staticmethod
    def ran_out_of_memory(path: Path) -> bool:
        """True if the kernel has killed a process of the group."""
        with contextlib.suppress(OSError):
            lines = (path / "memory.events").read_text().splitlines()
            return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
        return False

    @staticmethod
    def _enable(path: Path) -> bool:
        try:
            there = (path / "cgroup.controllers").read_text().split()
            if not all(each in there for each in _NEEDED):
                return False
            (path / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in _NEEDED))
        except OSError:
            return False
        return True


def remove(lab: str, root: Path = ROOT) -> None:
    """Remove what a lab has left; its processes have ended."""
    folder = root / f"kcompile-{lab}"
    if folder.is_dir():
        for path in [*folder.iterdir(), folder]:
            if path.is_dir():
                Cgroups.drop(path)
