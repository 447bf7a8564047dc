"""``kcompile run`` as a process."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
from typing import Self

from .onenode import Node

__all__ = ["QUIET", "Process"]

QUIET = ("--healthz-bind-address", "", "--metrics-bind-address", "")
"""No servers."""


class Process(contextlib.AbstractContextManager["Process"]):
    """``kcompile run`` on a node, from its first sync on, which may take `patience` seconds."""

    def __init__(self, node: Node, *arguments: str, patience: float = 30) -> None:
        self._notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notes.settimeout(patience)
        path = node.folder / f"notify-{id(self)}"
        self._notes.bind(str(path))
        self._started = subprocess.Popen(
            node.command("run", *QUIET, *arguments),
            env=node.env | {"NOTIFY_SOCKET": str(path)},
            cwd=node.folder,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        try:
            self.told("READY=1")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._started.kill()
        self._started.communicate()
        self._notes.close()

    def told(self, word: str) -> None:
        """Wait until systemd would have been told this."""
        while word not in self._notes.recv(4096).decode():
            pass

    def says(self, pattern: str) -> str:
        """Wait for a line of its log."""
        said = []
        while select.select([self._started.stderr], [], [], 20)[0] and (line := self._line()):
            said.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"it doesn't say {pattern}, but: {said}")

    def _line(self) -> str:
        """The next line, unbuffered: what select() sees is all there is."""
        line = b""
        while not line.endswith(b"\n") and (byte := os.read(self._started.stderr.fileno(), 1)):
            line += byte
        return line.decode()

    def send(self, number: int) -> None:
        self._started.send_signal(number)

    def ends(self, number: int) -> int:
        """Its exit status after a signal."""
        self.send(number)
        return self._started.wait(10)
