"""One change after another, each alone: from the server's write to the rule in the kernel."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

from ..generate import Scale, service_and_slice
from .objects import replaced, slices, without_last
from .seen import Seen
from .server import ApiServer

__all__ = ["CHANGES", "Change", "Took", "Wire", "changes", "one_after_another"]

_PATIENCE = 30.0  # seconds
_ASK = 0.0005  # seconds between two questions
_WATCHES = ("/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices")


class Took(NamedTuple):
    """Seconds from just before the write to the server's store: until a bare client has the event, and until
    the rule is in the kernel.
    """

    wire: float
    rule: float


class Change(NamedTuple):
    """`make` returns the moment before it."""

    vip: str
    make: Callable[[], float]


class Wire:
    """A bare client that watches as the agent does; a context manager."""

    def __init__(self, server: ApiServer) -> None:
        self.sockets = [socket.create_connection((server.host, server.port)) for _ in _WATCHES]
        for sock, path in zip(self.sockets, _WATCHES, strict=True):
            query = f"{path}?watch=1&resourceVersion={server.version}"
            sock.sendall(f"GET {query} HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()

    def drain(self) -> None:
        """Forget what has come."""
        while ready := select.select(self.sockets, [], [], 0)[0]:
            for sock in ready:
                sock.recv(1 << 16)


def one_after_another(
    seen: Seen, wire: Wire, asked: Iterator[Change], count: int, pause: float
) -> list[Took]:
    """Make `count` of the changes `asked`, with `pause` seconds between the end of one and the next."""
    found = []
    for _ in range(count):
        change = next(asked)
        time.sleep(pause)
        wire.drain()
        seen.look(change.vip)
        at = change.make()
        found.append(_wait(seen, wire, at))
    return found


def _wait(seen: Seen, wire: Wire, at: float) -> Took:
    arrived = in_kernel = 0.0
    until = at + _PATIENCE
    while not (arrived and in_kernel):
        ready, _, _ = select.select(
            [*wire.sockets, *seen.filenos], [], [], _PATIENCE if seen.filenos else _ASK
        )
        now = time.monotonic()
        if not arrived and any(sock in ready for sock in wire.sockets):
            arrived = now
            wire.drain()
        if not in_kernel and seen.changed():
            in_kernel = time.monotonic()
        if now > until:
            raise RuntimeError("a change isn't seen in the kernel")
    return Took(arrived - at, in_kernel - at)


def changes(kind: str, server: ApiServer, scale: Scale) -> Iterator[Change]:
    """Changes of `kind`, without end, each of another Service than the last but one."""
    return CHANGES[kind](server, scale)


def _spread(scale: Scale) -> Iterator[int]:
    """Services far from each other."""
    i = scale.services // 2
    while True:
        yield i
        i = (i + 7919) % scale.services


def _gone_and_back(server: ApiServer, scale: Scale) -> Iterator[Change]:
    for i in _spread(scale):
        last = slices(scale, i)[-1]
        for part in (without_last(last), last):
            yield Change(scale.vip(i), lambda part=part: server.put(part))  # type: ignore[misc]


def _replaced(server: ApiServer, scale: Scale) -> Iterator[Change]:
    for number, i in enumerate(_spread(scale)):
        part = replaced(slices(scale, i)[-1], f"10.254.{number >> 8 & 255}.{number & 255}")
        yield Change(scale.vip(i), lambda part=part: server.put(part))  # type: ignore[misc]


def _new_service(server: ApiServer, scale: Scale) -> Iterator[Change]:
    """A Service whose slices are there already, and its end."""
    i = scale.services
    while True:
        service, _ = service_and_slice(scale, i)
        parts = slices(scale, i)
        server.put(*parts)
        yield Change(scale.vip(i), lambda service=service: server.put(service))  # type: ignore[misc]
        yield Change(scale.vip(i), lambda service=service: server.delete(service))  # type: ignore[misc]
        server.delete(*parts)
        i += 1


CHANGES: dict[str, Callable[[ApiServer, Scale], Iterator[Change]]] = {
    "endpoint replaced": _replaced,
    "endpoint gone or back": _gone_and_back,
    "Service new or gone": _new_service,
}
