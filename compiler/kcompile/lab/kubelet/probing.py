"""One run of a probe or a hook: HTTP, TCP or a command in the container (pkg/kubelet/prober, pkg/probe)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...kernel.netns import entered

__all__ = ["Result", "Target", "act", "connected"]

_SUCCESS = range(200, 400)
_LONGEST = 10 << 10  # bytes of a body or output that a message shows

Command = Callable[[Sequence[str]], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True)
class Result:
    good: bool
    message: str = ""


@dataclass(frozen=True)
class Target:
    """What is probed: from `netns`, the node's, at `ip`, the pod's; `ports` are the container's, by name;
    `run` runs a command in the container, and returns its exit status and output.
    """

    netns: str
    ip: str
    ports: Mapping[str, int]
    run: Command

    def port(self, wanted: Any) -> int:
        """The number of a port that is a number or a name. Raises ValueError."""
        if isinstance(wanted, int) or str(wanted).isdigit():
            return int(wanted)
        if wanted not in self.ports:
            raise ValueError(f"couldn't find port: {wanted}")
        return self.ports[wanted]


async def act(action: Mapping[str, Any], target: Target, timeout: float, agent: str) -> Result:
    """Do what the action of a probe or a hook says; `agent` is HTTP's User-Agent."""
    try:
        async with asyncio.timeout(timeout):
            if command := action.get("exec"):
                status, output = await target.run(command.get("command") or ())
                text = output[:_LONGEST].decode(errors="replace")
                return Result(status == 0, text or f"command ended with exit status {status}")
            if request := action.get("httpGet"):
                return await _http(request, target, agent)
            if connection := action.get("tcpSocket"):
                return await _tcp(connection, target)
            if pause := action.get("sleep"):
                await asyncio.sleep(pause.get("seconds") or 0)
    except TimeoutError:
        what = next((key for key in action if key in ("exec", "httpGet", "tcpSocket")), "probe")
        said = {
            "exec": "command timed out",
            "httpGet": "Get: context deadline exceeded (Client.Timeout exceeded)",
        }
        return Result(False, said.get(what, "dial tcp: i/o timeout"))
    except (OSError, ValueError) as error:
        return Result(False, str(error))
    return Result(True)  # grpc: kubelet/unsupported.py says it


async def connected(netns: str, host: str, port: int) -> socket.socket:
    """A TCP connection made in network namespace `netns`. Raises OSError."""
    loop = asyncio.get_running_loop()
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    with entered(netns):  # a socket stays in the namespace that it was made in
        connection = socket.socket(found[0][0], socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await loop.sock_connect(connection, found[0][4])
    except BaseException:
        connection.close()
        raise
    return connection


async def _tcp(action: Mapping[str, Any], target: Target) -> Result:
    host, port = action.get("host") or target.ip, target.port(action["port"])
    try:
        (await connected(target.netns, host, port)).close()
    except OSError as error:
        return Result(False, f"dial tcp {_joined(host, port)}: connect: {_reason(error)}")
    return Result(True)


async def _http(action: Mapping[str, Any], target: Target, agent: str) -> Result:
    """An HTTP/1.1 request: a status from 200 to 399 is good. Certificates aren't checked."""
    host, port = action.get("host") or target.ip, target.port(action["port"])
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    url = f"{scheme}://{_joined(host, port)}{path if path.startswith('/') else '/' + path}"
    try:
        connection = await connected(target.netns, host, port)
    except OSError as error:
        return Result(False, f'Get "{url}": dial tcp {_joined(host, port)}: connect: {_reason(error)}')
    reader, writer = await asyncio.open_connection(sock=connection, **_tls(scheme, host))
    try:
        writer.write(_request(url, action.get("httpHeaders") or (), agent))
        line = (await reader.readline()).decode("latin-1").split(None, 2)
        if len(line) < 2 or not line[1].isdigit():
            return Result(False, f'Get "{url}": EOF')
        status = int(line[1])
        return Result(status in _SUCCESS, f"HTTP probe failed with statuscode: {status}")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _tls(scheme: str, host: str) -> dict[str, Any]:
    if scheme != "https":
        return {}
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return {"ssl": context, "server_hostname": host}


def _request(url: str, headers: Sequence[Mapping[str, str]], agent: str) -> bytes:
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, "User-Agent": agent, "Accept": "*/*", "Connection": "close"}
    fields |= {each["name"]: each.get("value") or "" for each in headers}
    query = f"?{parts.query}" if parts.query else ""
    lines = [f"GET {parts.path}{query} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
