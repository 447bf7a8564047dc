"""Processes and their sockets, as /proc shows them in the current network namespace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["LISTEN", "Bound", "bound", "processes", "sockets"]

_PROC = Path("/proc")
_TABLES = {"tcp": "TCP", "tcp6": "TCP", "udp": "UDP", "udp6": "UDP"}
LISTEN = "0A"  # TCP_LISTEN in proc_net_tcp


class Bound(NamedTuple):
    """A socket: its protocol, local port, state as /proc/net has it (hexadecimal), and inode number."""

    protocol: str
    port: int
    state: str
    inode: str


def processes() -> Iterator[Path]:
    """The folder of each process."""
    return (path for path in _PROC.iterdir() if path.name.isdigit())


def bound() -> Iterator[Bound]:
    """The TCP and UDP sockets of the current network namespace."""
    for table, protocol in _TABLES.items():
        with contextlib.suppress(OSError):
            for line in (_PROC / "thread-self/net" / table).read_text().splitlines()[1:]:
                words = line.split()
                yield Bound(protocol, int(words[1].rpartition(":")[2], 16), words[3], words[9])


def sockets(process: Path) -> set[str]:
    """The inode numbers of the sockets that `process` has open. Raises OSError where it has ended."""
    found: set[str] = set()
    for entry in os.scandir(process / "fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(entry.path)  # noqa: PTH115 -- of every descriptor of every process
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found
