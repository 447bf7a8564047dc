"""A command in a container, for a person or a program: the client's side of `pods/exec` over a WebSocket.

Protocol v5.channel.k8s.io: each message begins with a byte that says which stream it is of.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ..agent.serve.unix import short_path
from ..errors import InputError
from .control import API_SOCKET
from .remote import Remote, path_of

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

__all__ = ["execute"]

_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_PROTOCOL = "v5.channel.k8s.io"
_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "a2NvbXBpbGUgbGFiIGV4ZQ==",
    "Sec-WebSocket-Protocol": _PROTOCOL,
}
_PIECE = 1 << 16


def execute(
    remote: Remote,
    pod: tuple[str, str],
    container: str,
    command: Sequence[str],
    *,
    stdin: bool,
    terminal: bool,
) -> int:
    """Run `command` in a container of the pod (namespace, name); returns its exit status.

    `stdin`: it reads ours. `terminal`: it gets one, and ours is in raw mode meanwhile.
    Raises InputError for what the server refuses.
    """
    options = [("command", word) for word in command] + [("stdout", "true"), ("container", container)]
    if stdin:
        options.append(("stdin", "true"))
    options.append(("tty", "true") if terminal else ("stderr", "true"))
    path = f"{path_of('Pod', *pod)}/exec?{urlencode(options)}"
    with _raw(terminal):
        return asyncio.run(_run(remote, path, stdin=stdin, terminal=terminal))


async def _run(remote: Remote, path: str, *, stdin: bool, terminal: bool) -> int:
    from aiohttp import ClientSession, UnixConnector, WSServerHandshakeError

    with short_path(remote.directory / API_SOCKET) as socket:
        async with ClientSession(connector=UnixConnector(socket)) as session:
            url = f"http://lab{path}"
            try:
                opening = session.ws_connect(
                    url, protocols=[_PROTOCOL], headers=remote.headers(), max_msg_size=0, autoping=True
                )
                async with opening as stream:
                    return await _copy(stream, stdin=stdin, terminal=terminal)
            except WSServerHandshakeError as error:
                # aiohttp drops the answer's body, which says why
                async with session.get(url, headers={**remote.headers(), **_UPGRADE}) as answer:
                    text = await answer.text()
                raise InputError(_message(text) or error.message) from None


async def _copy(stream: ClientWebSocketResponse, *, stdin: bool, terminal: bool) -> int:
    """Copy the streams until the command has ended; its exit status."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[bytes] = asyncio.Queue()
    if stdin:
        threading.Thread(target=_read, args=(loop, waiting), daemon=True).start()
    if terminal:
        loop.add_signal_handler(signal.SIGWINCH, lambda: waiting.put_nowait(_size()))
        waiting.put_nowait(_size())
    sending = asyncio.create_task(_send(stream, waiting))
    try:
        async for message in stream:
            data = message.data
            if not isinstance(data, bytes) or not data:
                continue
            if data[0] in (_STDOUT, _STDERR):
                _write(1 if data[0] == _STDOUT else 2, data[1:])
            elif data[0] == _STATUS:
                return _exit_status(json.loads(data[1:]))
    finally:
        sending.cancel()
    return 1


async def _send(stream: ClientWebSocketResponse, waiting: asyncio.Queue[bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            await stream.send_bytes(await waiting.get())


def _read(loop: asyncio.AbstractEventLoop, waiting: asyncio.Queue[bytes]) -> None:
    """Read our input, in a thread of its own: a file can't be polled."""
    with contextlib.suppress(OSError, RuntimeError):
        while data := os.read(0, _PIECE):
            loop.call_soon_threadsafe(waiting.put_nowait, bytes([_STDIN]) + data)
        loop.call_soon_threadsafe(waiting.put_nowait, bytes([_CLOSE, _STDIN]))


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _size() -> bytes:
    columns, lines = os.get_terminal_size(0) if os.isatty(0) else (80, 24)
    return bytes([_RESIZE]) + json.dumps({"Width": columns, "Height": lines}).encode()


def _exit_status(status: dict[str, Any]) -> int:
    """The exit status in the Status that ends a command. Raises InputError where it wasn't started."""
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise InputError(str(status.get("message") or "the command could not be started"))


def _message(text: str) -> str:
    with contextlib.suppress(ValueError):
        return str(json.loads(text)["message"])
    return text.strip()[:200]


@contextlib.contextmanager
def _raw(wanted: bool) -> Iterator[None]:
    """Our terminal in raw mode, where it is one."""
    if not wanted or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
