"""Whether kube-proxy runs in this network namespace: as a process of that name, or inside of another one.

k3s, RKE2, k0s and MicroK8s run it in a process of their own; a container may not see it at all. What gives it
away there are its ports, of metrics and healthz.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..netns import identity

__all__ = ["Process", "running"]

_PROC = Path("/proc")
_NAME = "kube-proxy"
_HOSTS = ("k3s", "rke2", "k0s", "kubelite")  # kubelite is MicroK8s'
_PORTS = (10249, 10256)
_LISTEN = "0A"  # TCP_LISTEN in proc_net_tcp


class Process(NamedTuple):
    """A process in which kube-proxy runs.

    `pid`: 0 where it can't be seen from here, but listens on a port. `name`: ``kube-proxy``, or the
    program that has it inside. `cgroup`: its path.
    """

    pid: int
    name: str = _NAME
    cgroup: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "kube-proxy (a process that isn't visible from here)"
        inside = "" if self.name == _NAME else f" inside of {self.name}"
        return f"kube-proxy{inside} (pid {self.pid})"


def running() -> list[Process]:
    """Every one in the current network namespace. A process that ends meanwhile isn't one."""
    sockets = _listening()
    here = identity()
    found: list[Process] = []
    # An agent serves on these ports too; its process may be in another namespace than its kernel thread.
    seen = _sockets(_PROC / "self") & sockets if sockets else set()
    for process in _processes():
        with contextlib.suppress(OSError):
            held = _sockets(process) & sockets if sockets else set()
            seen |= held  # an agent of ours has them too; its process may be in another namespace
            if str((process / "ns/net").stat().st_ino) != here:
                continue
            name = (process / "comm").read_text().strip()
            if name == _NAME or (held and name.startswith(_HOSTS)):
                cgroup = (process / "cgroup").read_text().strip().rpartition(":")[2]
                found.append(Process(int(process.name), name, cgroup))
    if not found and sockets - seen:
        found.append(Process(0))
    return found


def _processes() -> Iterator[Path]:
    return (path for path in _PROC.iterdir() if path.name.isdigit())


def _listening() -> set[str]:
    """The inode numbers of the sockets that listen on kube-proxy's ports."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/thread-self/net", name).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) in _PORTS:
                    found.add(words[9])
    return found


def _sockets(process: Path) -> set[str]:
    """The inode numbers of the sockets that `process` has open."""
    found: set[str] = set()
    for entry in os.scandir(process / "fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(entry.path)  # noqa: PTH115 -- of every descriptor of every process
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found
