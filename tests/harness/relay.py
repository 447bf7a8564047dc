"""HTTP/1.1 as a proxy sees it: heads, bodies in pieces, and the answers that it makes itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["Head", "Request", "chunk", "pieces", "read_head", "read_request", "status_answer"]


class Head(NamedTuple):
    """The first line, and the header fields by lower-case name."""

    line: str
    fields: dict[str, str]

    def encoded(self, *without: str, **more: str) -> bytes:
        """As sent. Names in `more` have underscores; those in `without` are left out."""
        fields = {name: value for name, value in self.fields.items() if name not in without}
        fields |= {name.replace("_", "-"): value for name, value in more.items()}
        lines = [self.line, *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Request(NamedTuple):
    head: Head
    body: bytes

    @property
    def method(self) -> str:
        return self.head.line.split(" ")[0]

    @property
    def path(self) -> str:
        return urlsplit(self.head.line.split(" ")[1]).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.head.line.split(" ")[1]).query)
        return {name: values[-1] for name, values in found.items()}

    @property
    def watch(self) -> bool:
        return self.query.get("watch", "") in ("1", "true")


async def read_head(reader: asyncio.StreamReader) -> Head:
    """The next head. Raises IncompleteReadError at the end of the connection."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = text.strip().split("\r\n")
    fields = (field.split(":", 1) for field in rest)
    return Head(line, {name.strip().lower(): value.strip() for name, value in fields})


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = await read_head(reader)
    if "chunked" in head.fields.get("transfer-encoding", ""):
        return Request(head, b"".join([piece async for piece in pieces(reader, head)]))
    return Request(head, await reader.readexactly(int(head.fields.get("content-length", 0))))


async def pieces(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body that follows `head`, chunk by chunk as it came."""
    if "chunked" not in head.fields.get("transfer-encoding", ""):
        if length := int(head.fields.get("content-length", 0)):
            yield await reader.readexactly(length)
        return
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


def chunk(data: bytes) -> bytes:
    """`data` in chunked encoding; none is the end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def status_answer(code: int, reason: str, message: str, token: str = "", retry: int | None = None) -> bytes:
    """A whole answer with a Status. `token`: for a list that expired. `retry`: Retry-After, seconds."""
    meta = {"continue": token} if token else {}
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": meta, "status": "Failure"}
    status |= {"message": message, "reason": reason, "code": code}
    body = json.dumps(status).encode() + b"\n"
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    if retry is not None:
        fields["retry-after"] = str(retry)
    return Head(f"HTTP/1.1 {code} {reason}", fields).encoded() + body
