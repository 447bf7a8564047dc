"""Processes of this network namespace that listen on a NodePort."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from ...ir.model import FrontendKind
from ..netns import identity
from ..proc import LISTEN, bound, processes, sockets
from ..remember import recall
from .records import Listener

__all__ = ["listeners"]

_BOUND = (LISTEN, "07")  # UDP sockets without a peer are in TCP_CLOSE (proc_net_tcp)

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
    return {
        socket.inode: (socket.protocol, socket.port)
        for socket in bound()
        if socket.state in _BOUND and (socket.protocol, socket.port) in wanted
    }


def _process(inode: str) -> tuple[int, str]:
    """PID and name of a process of this namespace that has the socket; 0 where none can be seen."""
    here = identity()
    for process in processes():
        with contextlib.suppress(OSError):  # it has ended, or isn't ours to see
            if str((process / "ns/net").stat().st_ino) == here and inode in sockets(process):
                return int(process.name), (process / "comm").read_text().strip()
    return 0, ""
