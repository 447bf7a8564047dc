"""Processes of this network namespace that listen on a NodePort."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from ...ir.model import FrontendKind
from ..netns import identity
from ..remember import recall
from .records import Listener

__all__ = ["listeners"]

_PROC = Path("/proc")
_TABLES = {"tcp": "TCP", "tcp6": "TCP", "udp": "UDP", "udp6": "UDP"}
_BOUND = ("0A", "07")  # TCP_LISTEN; UDP sockets without a peer are in TCP_CLOSE (proc_net_tcp)

_Port = tuple[str, int]  # protocol and number


def listeners(directory: Path) -> tuple[Listener, ...]:
    """The sockets on NodePorts of the last apply in the current network namespace, whose run directory is
    `directory`, each with its process.
    """
    applied = recall(directory)
    node_ports: dict[_Port, str] = {}
    for port in applied.dataplane.ports if applied else ():
        for frontend in port.frontends:
            if frontend.kind is FrontendKind.NODE_PORT:
                node_ports[port.protocol.value, frontend.port] = port.name
    bound = _bound(node_ports) if node_ports else {}
    return tuple(Listener(node_ports[port], *port, *_process(inode)) for inode, port in sorted(bound.items()))


def _bound(wanted: Mapping[_Port, str]) -> dict[str, _Port]:
    """Inode -> port of each socket that is bound to one of the `wanted` ports."""
    found: dict[str, _Port] = {}
    for table, protocol in _TABLES.items():
        with contextlib.suppress(OSError):
            for line in (_PROC / "thread-self/net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                port = (protocol, int(fields[1].rpartition(":")[2], 16))
                if fields[3] in _BOUND and port in wanted:
                    found[fields[9]] = port
    return found


def _process(inode: str) -> tuple[int, str]:
    """PID and name of a process of this namespace that has the socket; 0 where none can be seen."""
    here = identity()
    for process in _PROC.iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended, or isn't ours to see
            if str((process / "ns/net").stat().st_ino) == here and _holds(process, inode):
                return int(process.name), (process / "comm").read_text().strip()
    return 0, ""


def _holds(process: Path, inode: str) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                return True
    return False
