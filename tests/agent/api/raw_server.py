"""A server that answers with exactly the bytes it is given: what a real API server sent, event by event."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from harness import transcripts

__all__ = ["Answer", "Asked", "RawServer", "body", "event", "hold", "serving", "status", "transcript"]

_EXCHANGES = {each.name.split(" ")[0]: each for each in transcripts.read().exchanges}
_MANAGED = [
    {"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}
]
"""managedFields, which the transcripts leave out: every object of a real server has some."""


class Asked(NamedTuple):
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    peer: str = ""
    """The common name of the client's certificate."""

    @property
    def is_watch(self) -> bool:
        return "watch" in self.query


class Answer(NamedTuple):
    """`end`: ``clean`` with the last chunk, ``cut`` without it, ``hold``: open until the server ends."""

    chunks: Sequence[bytes] = ()
    status: str = "HTTP/1.1 200 OK"
    headers: Sequence[str] = ("Content-Type: application/json",)
    end: str = "clean"


def transcript(name: str, *, end: str = "clean") -> Answer:
    """What a real API server answered, an event of a watch a chunk."""
    found = _EXCHANGES[name]
    if found.events is not None:
        chunks = [event(kind, _managed(item)) for kind, item in found.events]
    elif isinstance(found.body, str):
        chunks = [found.body.encode()]
    else:
        items = {"items": [_managed(item) for item in found.body["items"]]} if "items" in found.body else {}
        chunks = [json.dumps(found.body | items).encode()]
    left_out = ("content-length", "transfer-encoding")
    headers = [f"{key}: {value}" for key, value in found.headers.items() if key not in left_out]
    return Answer(chunks, f"HTTP/1.1 {found.status} {HTTPStatus(found.status).phrase}", headers, end)


def _managed(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"metadata": item["metadata"] | {"managedFields": _MANAGED}} if "metadata" in item else item


def hold(*chunks: bytes) -> Answer:
    """A watch that brings `chunks` and stays open."""
    return Answer(chunks, end="hold")


def body(value: Any) -> Answer:
    return Answer([json.dumps(value).encode()])


def event(kind: str, item: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def status(code: int, message: str, **headers: str) -> Answer:
    said = {"kind": "Status", "status": "Failure", "message": message, "code": code}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return body(said)._replace(status=f"HTTP/1.1 {code} No", headers=lines)


class RawServer:
    """`answer` says what a request gets; `asked` are the requests so far."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer, self.asked = answer, list[Asked]()
        self.on_asked: Callable[[], None] = lambda: None
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        target = urlsplit(first.split(" ")[1])
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        asked = Asked(target.path, dict(parse_qsl(target.query)), headers, _common_name(writer))
        self.asked.append(asked)
        self.on_asked()
        answer = self.answer(asked)
        start = [answer.status, *answer.headers, "Transfer-Encoding: chunked", "", ""]
        writer.write("\r\n".join(start).encode())
        for chunk in answer.chunks:
            writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
        if answer.end == "clean":
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if answer.end == "hold":
            await reader.read()  # until the client leaves
        return answer.end == "clean"


def _common_name(writer: asyncio.StreamWriter) -> str:
    subject = (writer.get_extra_info("peercert") or {}).get("subject", ())
    return next((value for part in subject for name, value in part if name == "commonName"), "")


@asynccontextmanager
async def serving(
    answer: Callable[[Asked], Answer], *, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[RawServer]:
    server = RawServer(answer)
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await server.serve(reader, writer)
        tasks.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls, limit=1 << 24)
    server.port = listener.sockets[0].getsockname()[1]
    server.scheme = "https" if tls else "http"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
