"""Whether kube-proxy runs in this network namespace: as a process of that name, or inside of another one.

k3s, RKE2, k0s and MicroK8s run it in a process of their own; a container may not see it at all. What gives it
away there are its ports, of metrics and healthz.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from ..netns import identity
from ..proc import LISTEN, bound, processes
from ..proc import sockets as sockets_of

__all__ = ["Process", "running"]

_PROC = Path("/proc")
_NAME = "kube-proxy"
_HOSTS = ("k3s", "rke2", "k0s", "kubelite")  # kubelite is MicroK8s'
_PORTS = (10249, 10256)


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
    seen = sockets_of(_PROC / "self") & sockets if sockets else set()
    for process in processes():
        with contextlib.suppress(OSError):
            held = sockets_of(process) & sockets if sockets else set()
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


def _listening() -> set[str]:
    """The inode numbers of the sockets that listen on kube-proxy's ports."""
    return {
        socket.inode
        for socket in bound()
        if socket.protocol == "TCP" and socket.state == LISTEN and socket.port in _PORTS
    }
