"""Sockets that only root can connect to: the agent's in its run directory, for ``kcompile status``, and those
of a lab.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from ...errors import KcompileError
from ...kernel.kept import make_folder
from .status import SOCKET

__all__ = ["ask", "connect_to", "listen_at", "short_path"]

T = TypeVar("T")

_LONGEST = 107  # bytes of a path in sockaddr_un
_SECONDS = 10.0


def listen_at(directory: Path, name: str = SOCKET) -> socket.socket:
    """The socket `name` in `directory`, by default the agent's. Whoever calls it holds the lock there.

    :raises OSError: where it can't be made
    :raises KernelError: where there is no room, or others can write to the directory
    """
    make_folder(directory)
    path = directory / name
    path.unlink(missing_ok=True)  # of an agent that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as short:
            listener.bind(short)
        path.chmod(0o600)
        listener.listen()
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def ask(directory: Path, path: str, kind: type[T]) -> T:
    """What the agent of the run directory `directory` answers to GET `path`.

    :raises KcompileError: where none runs, or it doesn't answer within 10 s
    """
    connection = http.client.HTTPConnection("agent", timeout=_SECONDS)
    try:
        connection.sock = connect_to(directory, timeout=_SECONDS)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (FileNotFoundError, ConnectionRefusedError):
        raise KcompileError("no agent runs on this node (kcompile run)") from None
    except PermissionError:
        raise KcompileError(f"{directory / SOCKET}: root is needed") from None
    except (OSError, http.client.HTTPException) as e:
        raise KcompileError(f"the agent doesn't answer: {e or type(e).__name__}") from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise KcompileError(f"the agent answers {answer.status} {answer.reason} for {path}")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as e:
        raise KcompileError(f"the agent is of another version: {e}") from None


def connect_to(directory: Path, name: str = SOCKET, timeout: float | None = None) -> socket.socket:
    """A connection to the socket `name` in `directory`. Raises OSError where nobody listens."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.settimeout(timeout)
        with short_path(directory / name) as short:
            one.connect(short)
    except OSError:
        one.close()
        raise
    return one


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path of the socket that fits into an address, however long `path` is."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        with contextlib.suppress(OSError):
            os.close(fd)
