"""The server of health check ports, in the health check process (kernel/health.py) or in an agent: one thread
for every port, and a bounded number of clients.

Anybody who can reach the node is a client, so none may block the others: a client is closed when idle for
`IDLE_SECONDS`, or when a request isn't complete within `REQUEST_SECONDS`; of more than `CLIENTS`, the one
that was idle for longest.
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import selectors
import socket
import time
from collections.abc import Callable, Mapping, Sequence

from ..ir.model import HealthCheck

__all__ = [
    "BACKLOG",
    "CLIENTS",
    "EVERYWHERE",
    "IDLE_SECONDS",
    "REQUEST_SECONDS",
    "SWEEP_SECONDS",
    "Responder",
    "listen",
]

EVERYWHERE = "*"
"""All addresses of both families."""

BACKLOG = 128
CLIENTS = 1024
REQUEST_SECONDS, IDLE_SECONDS = 10.0, 30.0
SWEEP_SECONDS = 0.25
_ENDING_SECONDS = 1.0
_REQUEST_BYTES = 8192
_ACCEPTS = 64  # at a time, so that accepted clients are served in between
_SPARE = 32  # descriptors that aren't sockets, and a reserve
_DESCRIPTORS = 1 << 16  # asked for where there is no limit
_REASONS = {200: "OK", 400: "Bad Request", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class _Client:
    """A connection to `port`. `ending`: its last answer is sent, and the client should close."""

    __slots__ = ("deadline", "ending", "port", "received", "socket")

    def __init__(self, connection: socket.socket, port: int) -> None:
        self.socket, self.port = connection, port
        self.received = b""
        self.ending = False
        self.deadline = time.monotonic() + REQUEST_SECONDS


class Responder:
    """Answers health checks. `turn` also listens on the socket `wake`, and returns its bytes.

    `healthy`: whether the rules are up to date; all checks fail where they aren't.
    """

    def __init__(self, wake: socket.socket | None = None, healthy: Callable[[], bool] = lambda: True) -> None:
        self._limit = _raise_limit()
        self._checks: dict[int, HealthCheck] = {}
        self._listeners: dict[int, Sequence[socket.socket]] = {}
        self._clients: dict[socket.socket, _Client] = {}  # the one that was quiet for longest first
        self._selector = selectors.EpollSelector()
        self._wake, self._healthy = wake, healthy
        if wake is not None:
            self._selector.register(wake, selectors.EVENT_READ)
        self._swept = 0.0

    def update(self, checks: Mapping[int, HealthCheck]) -> list[str]:
        """Serve exactly `checks` (by port), keeping open connections; returns an error line a failed port."""
        opened: dict[int, Sequence[socket.socket]] = {}
        errors: list[str] = []
        for port in checks:
            if port not in self._listeners:
                try:
                    opened[port] = [listen(port)]
                except OSError as e:
                    errors.append(f"{port}: {e.strerror}")
        self.answer(checks, opened)
        return errors

    def answer(
        self, checks: Mapping[int, HealthCheck], opened: Mapping[int, Sequence[socket.socket]]
    ) -> None:
        """Serve exactly `checks`, with the listening sockets `opened` for ports that are new or have moved to
        other addresses. A port without a socket isn't answered.
        """
        for port in [p for p in self._listeners if p not in checks or p in opened]:
            for listener in self._listeners.pop(port):
                self._selector.unregister(listener)
                listener.close()
        for port, listeners in opened.items():
            self._listeners[port] = listeners
            for listener in listeners:
                self._selector.register(listener, selectors.EVENT_READ, port)
        self._checks = dict(checks)
        for client in [c for c in self._clients.values() if c.port not in checks]:
            self._close(client)

    def turn(self, seconds: float) -> bytes:
        """Serve for `seconds`, or until there are bytes on the wake socket; returns these."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if woken := self.step(min(left, SWEEP_SECONDS) if self._clients else left):
                return woken
        return b""

    def step(self, seconds: float) -> bytes:
        """Serve what is ready within `seconds`; returns the bytes on the wake socket."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._wake:
                return self._wake.recv(4096)
            if isinstance(key.data, _Client):
                if key.data.socket in self._clients:  # else it has just made room
                    self._read(key.data)
            elif isinstance(key.fileobj, socket.socket):
                self._accept(key.fileobj, key.data)
        self._sweep()
        return b""

    def fileno(self) -> int:
        """A descriptor that is readable when `step` has something to do."""
        return self._selector.fileno()

    @property
    def clients(self) -> int:
        """The number of open connections."""
        return len(self._clients)

    def close(self) -> None:
        """Close every port and connection."""
        self.answer({}, {})
        self._selector.close()

    @property
    def _room(self) -> int:
        listeners = sum([len(each) for each in self._listeners.values()])
        return max(1, min(CLIENTS, self._limit - listeners - _SPARE))

    def _accept(self, listener: socket.socket, port: int) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as e:
                if e.errno != errno.EINVAL:  # that says the port moves; else no descriptor is left
                    self._evict()
                return
            while len(self._clients) >= self._room:
                self._evict()
            connection.setblocking(False)
            client = self._clients[connection] = _Client(connection, port)
            self._selector.register(connection, selectors.EVENT_READ, client)

    def _evict(self) -> None:
        if self._clients:
            self._close(next(iter(self._clients.values())))

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        for client in [c for c in self._clients.values() if c.deadline <= now]:
            self._close(client)

    def _close(self, client: _Client) -> None:
        del self._clients[client.socket]
        self._selector.unregister(client.socket)
        client.socket.close()

    def _read(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(client)
            return
        if client.ending:
            return
        if not client.received:
            client.deadline = time.monotonic() + REQUEST_SECONDS
        client.received += data
        while (
            client.socket in self._clients and not client.ending and (request := _request(client)) is not None
        ):
            self._answer(client, request)

    def _answer(self, client: _Client, request: bytes) -> None:
        check, healthy = self._checks[client.port], self._healthy()
        words, keep = _understood(request)
        status = 400 if not words else 200 if check.local_endpoints and healthy else 503
        if len(request) > _REQUEST_BYTES:
            status, keep = 431, False
        answer = _response(check, healthy, status, keep, body=words[:1] != [b"HEAD"])
        try:
            whole = client.socket.send(answer) == len(answer)
        except OSError:
            whole = False
        if not whole:  # it asks on and on, and reads nothing
            self._close(client)
            return
        self._clients[client.socket] = self._clients.pop(client.socket)
        client.deadline = time.monotonic() + (IDLE_SECONDS if keep else _ENDING_SECONDS)
        if not keep:
            client.ending = True
            with contextlib.suppress(OSError):
                client.socket.shutdown(socket.SHUT_WR)


def listen(port: int, address: str = EVERYWHERE) -> socket.socket:
    """A socket in the current network namespace that listens on `address`, or EVERYWHERE.

    :raises OSError: where the port is taken, or the address isn't this node's
    """
    if address == EVERYWHERE:
        try:
            return _listen(socket.AF_INET6, "::", port, only=0)
        except OSError as e:
            if e.errno != errno.EAFNOSUPPORT:  # the kernel was booted without IPv6
                raise
            address = "0.0.0.0"
    return _listen(socket.AF_INET6 if ":" in address else socket.AF_INET, address, port, only=1)


def _listen(family: socket.AddressFamily, address: str, port: int, *, only: int) -> socket.socket:
    """`only`: an IPv6 socket takes no IPv4 connections."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _raise_limit() -> int:
    """Raise this process's limit of descriptors as far as it may; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _request(client: _Client) -> bytes | None:
    """The next request in what `client` has sent, without its body; None where it isn't whole.

    One that is too long counts as whole.
    """
    head, end, rest = client.received.replace(b"\r\n", b"\n").partition(b"\n\n")
    if end:
        client.received = rest
        return head
    if len(client.received) > _REQUEST_BYTES:
        head, client.received = client.received, b""
        return head
    return None


def _understood(request: bytes) -> tuple[list[bytes], bool]:
    """Method, path and version, empty where it is no HTTP; and whether the connection goes on afterwards."""
    first, *lines = request.split(b"\n")
    words = first.split()
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return [], False
    pairs = [line.partition(b":") for line in lines]
    headers = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
    wanted = headers.get(b"connection", b"")
    has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
    keep = wanted == b"keep-alive" if words[2] == b"HTTP/1.0" else wanted != b"close"
    return words, keep and not has_body


def _response(check: HealthCheck, healthy: bool, status: int, keep: bool, body: bool) -> bytes:
    """What kube-proxy's responder answers (pkg/proxy/healthcheck/service_health.go)."""
    service = {"namespace": check.namespace, "name": check.service}
    text = {"service": service, "localEndpoints": check.local_endpoints, "serviceProxyHealthy": healthy}
    data = json.dumps(text).encode() if status in (200, 503) else b""
    lines = [
        f"HTTP/1.1 {status} {_REASONS[status]}",
        "Server: kcompile",
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        f"X-Load-Balancing-Endpoint-Weight: {check.local_endpoints}",
        f"Content-Length: {len(data)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (data if body else b"")
