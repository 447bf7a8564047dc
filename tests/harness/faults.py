"""A proxy between a client and an API server, whose connections go wrong by a seeded plan.

Only reads have faults: lists and watches. The plan counts the requests for each path by themselves, so what
happens to the third watch of Services doesn't depend on when Nodes are listed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from enum import StrEnum
from itertools import cycle
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from kcompile.apiserver import Serving

from .relay import Head, Request, chunk, pieces, read_head, read_request, status_answer

__all__ = ["EVERY", "Fault", "Injected", "Plan", "Proxy", "proxy"]


class Fault(StrEnum):
    CUT = "cut"  # the connection ends inside of the body
    RESET = "reset"  # the same, by a reset
    SPLIT = "split"  # chunks of a few bytes: events lie over several
    SLOW = "slow"  # the body takes its time
    SILENT = "silent"  # a watch passes nothing more, and stays open
    DUPLICATE = "duplicate"  # events of a watch, or items of a list, come twice
    REORDER = "reorder"  # a list's items in another order
    GONE = "gone"  # 410 as an answer
    GONE_EVENT = "gone event"  # 410 as a watch's event; a list is answered 410
    BUSY = "busy"  # 429 with Retry-After
    BROKEN = "broken"  # 500
    UNAUTHORIZED = "unauthorized"  # 401: the token is no longer good
    CERTIFICATE = "certificate"  # the server has another certificate, and all connections end


EVERY = tuple(Fault)
_ANSWERS = {
    Fault.GONE: (410, "Expired", "The provided continue parameter is too old"),
    Fault.BUSY: (429, "TooManyRequests", "the server has received too many requests, please try again later"),
    Fault.BROKEN: (500, "InternalError", "Internal error occurred: a fault of this test"),
    Fault.UNAUTHORIZED: (401, "Unauthorized", "Unauthorized"),
}
_LONGEST_PIECE = 90  # bytes, of a split body that is short
_MOST_PIECES = 100  # about, of one that is long
_FARTHEST = 2000  # bytes of a body that a cut lets through at most; mostly it is far less
_LINE = 1 << 20  # bytes: the longest head
_PAUSES = 5  # of a slow body
_PAUSE = 0.002  # seconds


class Injected(NamedTuple):
    """What goes wrong with one request. `after`: bytes or events that pass before."""

    fault: Fault
    after: int
    chance: random.Random


class Plan:
    """Which request gets which fault.

    `share` of the requests for each path, from the one with the number `first` to that with `last`, get one
    of `faults`; the others, and all after `calm`, get none. `log` has what was chosen: (request, its number,
    fault).
    """

    def __init__(
        self,
        seed: int,
        faults: Iterable[Fault] = EVERY,
        *,
        share: float = 0.5,
        first: int = 1,
        last: int = 10,
    ) -> None:
        self.seed, self.faults, self.share = seed, tuple(faults), share
        self.numbers = range(first, last + 1)
        self.log: list[tuple[str, int, Fault]] = []
        self._asked: Counter[str] = Counter()
        self._calm = False

    def calm(self) -> None:
        """No more faults. What is silent stays so."""
        self._calm = True

    def choose(self, request: Request) -> Injected | None:
        """The fault of the next request for this path, if it gets one."""
        what = f"{'watch' if request.watch else request.method} {request.path}"
        self._asked[what] += 1
        number = self._asked[what]
        chance = random.Random(f"{self.seed} {what} {number}")
        meant = number in self.numbers and request.method == "GET" and not self._calm
        if not meant or chance.random() >= self.share:
            return None
        fault = chance.choice(self.faults)
        after = chance.randrange(6) if fault is Fault.SILENT else int(_FARTHEST ** chance.random())
        self.log.append((what, number, fault))
        return Injected(fault, after, chance)

    def __repr__(self) -> str:
        return f"Plan(seed={self.seed}): " + ", ".join(f"{what} {n}: {fault}" for what, n, fault in self.log)


class Proxy:
    """`url` is for the client. `retry_after`: seconds that a busy server asks to wait."""

    def __init__(
        self,
        upstream: Serving,
        plan: Plan,
        tls: ssl.SSLContext | None,
        certificates: Sequence[tuple[Path, Path]],
        retry_after: int,
    ) -> None:
        self.url = ""
        self.plan, self.retry_after = plan, retry_after
        self._upstream, self._tls = upstream, tls
        self._certificates = cycle(certificates)
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        if certificates:
            self._next_certificate()

    def drop(self) -> None:
        """End all connections."""
        for writer in self._open.values():
            writer.transport.abort()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client."""
        self._open[asyncio.create_task(self._serve(reader, writer))] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                while await self._request(reader, writer):
                    pass
        finally:
            self._open = {task: other for task, other in self._open.items() if other is not writer}
            writer.close()

    async def close(self) -> None:
        """End all connections, and wait for their tasks."""
        tasks = list(self._open)
        self.drop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _next_certificate(self) -> None:
        assert self._tls is not None, "certificates are for TLS"
        self._tls.load_cert_chain(*next(self._certificates))

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False where the connection ends with it."""
        request = await read_request(reader)
        injected = self.plan.choose(request)
        fault = injected.fault if injected else None
        if fault is Fault.GONE_EVENT and not request.watch:
            fault = Fault.GONE
        if fault is Fault.CERTIFICATE:
            if self._tls is not None:
                self._next_certificate()
            self.drop()
            return False
        if fault in _ANSWERS:
            writer.write(self._refusal(fault, request))
            await writer.drain()
            return True
        if fault is Fault.GONE_EVENT:
            writer.write(_gone_event())
            await writer.drain()
            return True
        if not request.watch:
            return await self._passed(request, injected, writer)
        passing = asyncio.create_task(self._passed(request, injected, writer))
        leaving = asyncio.create_task(reader.read(1))  # of a watch's client comes nothing but its end
        try:
            await asyncio.wait((passing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, leaving):
                task.cancel()
            await asyncio.gather(passing, leaving, return_exceptions=True)
        return False

    def _refusal(self, fault: Fault, request: Request) -> bytes:
        code, reason, message = _ANSWERS[fault]
        retry = self.retry_after if fault is Fault.BUSY else None
        token = _inconsistent(request.query.get("continue", "")) if fault is Fault.GONE else ""
        return status_answer(code, reason, message, token, retry)

    async def _passed(
        self, request: Request, injected: Injected | None, writer: asyncio.StreamWriter
    ) -> bool:
        """Ask the server, and pass its answer on with the fault; False where the connection ends with it."""
        if self._upstream.path is not None:
            reader, upstream = await asyncio.open_unix_connection(self._upstream.path, limit=_LINE)
        else:
            address = urlsplit(self._upstream.url)
            reader, upstream = await asyncio.open_connection(address.hostname, address.port, limit=_LINE)
        try:
            upstream.write(request.head.encoded("accept-encoding" if injected else "") + request.body)
            head = await read_head(reader)
            body = pieces(reader, head)
            if request.watch:
                return await _watched(head, body, injected, writer)
            return await _listed(head, b"".join([piece async for piece in body]), injected, writer)
        finally:
            upstream.close()


async def _listed(head: Head, body: bytes, injected: Injected | None, writer: asyncio.StreamWriter) -> bool:
    if injected and injected.fault in (Fault.DUPLICATE, Fault.REORDER):
        body = _rearranged(body, injected)
    writer.write(head.encoded("transfer-encoding", content_length=str(len(body))))
    async for data in _sent(_one(body), injected):
        if data is None:
            return _ended(writer, injected)
        writer.write(data)
        await writer.drain()
    return True


async def _watched(
    head: Head, body: AsyncIterator[bytes], injected: Injected | None, writer: asyncio.StreamWriter
) -> bool:
    writer.write(head.encoded(connection="close"))
    async for data in _sent(body, injected):
        if data is None:
            return _ended(writer, injected)
        writer.write(chunk(data))
        await writer.drain()
    writer.write(chunk(b""))
    await writer.drain()
    return False


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _sent(body: AsyncIterator[bytes], injected: Injected | None) -> AsyncIterator[bytes | None]:
    """The pieces that the client gets; None where the connection is to end."""
    bend = _Bend(injected) if injected else None
    async for data in body:
        for piece in bend.bent(data) if bend else (data,):
            if bend and bend.fault is Fault.SLOW:
                await asyncio.sleep(_PAUSE)
            if piece:
                yield piece
        if bend and bend.ended:
            yield None
            return


class _Bend:
    """What a fault does to a body that passes. `ended`: the connection is to end."""

    def __init__(self, injected: Injected) -> None:
        self.fault, self._left, self._chance = injected.fault, injected.after, injected.chance
        self.ended = False

    def bent(self, data: bytes) -> Iterable[bytes]:
        """What the client gets of the next piece."""
        match self.fault:
            case Fault.CUT | Fault.RESET:
                return [self._cut(data)]
            case Fault.SPLIT:
                return self._split(data)
            case Fault.SLOW:
                size = len(data) // _PAUSES + 1
                return [data[start : start + size] for start in range(0, len(data), size)]
            case Fault.DUPLICATE | Fault.SILENT if data.startswith(b'{"type"'):
                return [self._lines(data.splitlines(keepends=True))]
        return [data]

    def _cut(self, data: bytes) -> bytes:
        kept = data[: self._left]
        self._left -= len(data)
        self.ended = self._left <= 0
        return kept

    def _split(self, data: bytes) -> Iterable[bytes]:
        longest = max(_LONGEST_PIECE, len(data) // _MOST_PIECES)
        start = 0
        while start < len(data):
            size = self._chance.randint(1, longest)
            yield data[start : start + size]
            start += size

    def _lines(self, lines: list[bytes]) -> bytes:
        if self.fault is Fault.DUPLICATE:
            return b"".join(line * self._chance.choice((1, 1, 2)) for line in lines)
        kept = lines[: self._left]
        self._left -= len(kept)
        return b"".join(kept)


def _ended(writer: asyncio.StreamWriter, injected: Injected | None) -> bool:
    """End the connection, before the body has ended."""
    if injected and injected.fault is Fault.RESET and (sock := writer.get_extra_info("socket")):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return False


def _rearranged(body: bytes, injected: Injected) -> bytes:
    found = json.loads(body)
    items = found.get("items")
    if not items:
        return body
    if injected.fault is Fault.DUPLICATE:
        found["items"] = [*items, *injected.chance.sample(items, k=(len(items) + 1) // 2)]
    else:
        injected.chance.shuffle(items)
    return json.dumps(found).encode()


def _gone_event() -> bytes:
    """A watch's answer that is nothing but the news that its version is too old."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status |= {"message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410}
    line = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
    fields = {"content-type": "application/json", "transfer-encoding": "chunked"}
    return Head("HTTP/1.1 200 OK", fields).encoded() + chunk(line) + chunk(b"")


def _inconsistent(token: str) -> str:
    """The continue token with which a list goes on from where it was, at another version."""
    if not token:
        return ""
    found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps(found | {"rv": -1}).encode()).rstrip(b"=").decode()


@contextlib.asynccontextmanager
async def proxy(
    upstream: Serving,
    plan: Plan,
    *,
    tls: ssl.SSLContext | None = None,
    certificates: Sequence[tuple[Path, Path]] = (),
    retry_after: int = 1,
) -> AsyncIterator[Proxy]:
    """A proxy on a free port before the server `upstream`, which speaks no TLS.

    `tls`: how it speaks to clients; `certificates` (each its file and its key's) take turns in it.
    """
    relaying = Proxy(upstream, plan, tls, certificates, retry_after)
    server = await asyncio.start_server(relaying.accept, "127.0.0.1", 0, ssl=tls, limit=_LINE)
    port = server.sockets[0].getsockname()[1]
    relaying.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield relaying
    finally:
        server.close()
        await relaying.close()
        await server.wait_closed()
