"""What the server needs of the kubelets: logs, processes in containers, connections to pods.

`pods/log`, `pods/exec`, `pods/attach` and `pods/portforward` are answered out of a `Containers`. Its methods
raise StatusError for what the client did wrong: a container that isn't there, or that doesn't run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

__all__ = ["STDERR", "STDOUT", "Containers", "Running", "Writer"]

STDOUT, STDERR = 1, 2
"""The streams of a process's output, by their file descriptors."""


class Writer(Protocol):
    """The way to a process's standard input."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Running(Protocol):
    """A process in a container, started or attached to. `stdin` is None where it wasn't asked for."""

    @property
    def stdin(self) -> Writer | None: ...

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes, as (STDOUT or STDERR, data), until both have ended."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Tell its terminal, if it has one, how large the client's is."""
        ...

    async def wait(self) -> int:
        """Its exit status; 128 + n for signal n."""
        ...

    def kill(self) -> None:
        """End it, because its client has gone."""
        ...


class Containers(Protocol):
    """The containers of all pods, wherever they run."""

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool,
        tail: int | None,
        since: float | None,
        previous: bool,
        timestamps: bool,
        limit: int | None,
    ) -> AsyncIterator[bytes]:
        """The container's log, piece by piece.

        `tail`: its last lines; `since`: from a time, in seconds of the epoch; `limit`: bytes.
        """
        ...

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        tty: bool,
    ) -> Running:
        """Start `command` in a container that runs."""
        ...

    async def attach(
        self, namespace: str, pod: str, container: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> Running:
        """Join the streams of the container's own process; `kill` leaves it running."""
        ...

    async def connect(
        self, namespace: str, pod: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection to a port of the pod, made in its network namespace."""
        ...
