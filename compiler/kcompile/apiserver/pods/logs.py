"""A container's log over HTTP: what is there, or all that comes as long as the client listens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ..bodies import headers
from ..options import read_boolean
from ..status import Cause, StatusError, bad_request, invalid

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["LogOptions", "log_answer"]

_FIRST = 0.5  # seconds in which a log that can't be read says so, before the answer begins


class LogOptions(NamedTuple):
    """PodLogOptions, as `Containers.logs` takes them."""

    follow: bool
    tail: int | None
    since: float | None
    previous: bool
    timestamps: bool
    limit: int | None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> LogOptions:
        """Read and check the options of a query.

        :raises StatusError: 400 for what can't be parsed, 422 for what is out of range
        """
        flags = {
            name: read_boolean(name, query.get(name, "")) for name in ("follow", "previous", "timestamps")
        }
        seconds = _number(query, "sinceSeconds", least=1)
        since = time.time() - seconds if seconds is not None else _time(query.get("sinceTime", ""))
        tail, limit = _number(query, "tailLines", least=0), _number(query, "limitBytes", least=1)
        return cls(tail=tail, since=since, limit=limit, **flags)


def _number(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise bad_request(f'query parameter {name}: "{text}" can\'t be read') from None
    if number < least:
        message = f"Invalid value: {number}: must be greater than or equal to {least}"
        raise invalid("PodLogOptions", "", [Cause("FieldValueInvalid", message, name)])
    return number


def _time(text: str) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise bad_request(f'query parameter sinceTime: "{text}" can\'t be read') from None


async def log_answer(request: web.Request, log: AsyncIterator[bytes] | None) -> web.StreamResponse:
    """The log as plain text; empty for a Pod that has no node yet.

    :raises StatusError: what the log says before its first piece
    """
    from aiohttp import web

    response = web.StreamResponse(headers=headers())
    response.content_type = "text/plain"
    response.enable_chunked_encoding()
    if log is None:
        await response.prepare(request)
        return response
    first = asyncio.ensure_future(_next(log))
    try:
        await asyncio.wait((first,), timeout=_FIRST)
        if first.done():
            first.result()
        with contextlib.suppress(ConnectionResetError):
            await response.prepare(request)
            await _write(response, log, await first)
    except StatusError as error:
        if not response.prepared:
            raise
        await response.write(f"{error.message}\n".encode())
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        if (close := getattr(log, "aclose", None)) is not None:
            await close()
    return response


async def _next(log: AsyncIterator[bytes]) -> bytes | None:
    return await anext(log, None)


async def _write(response: web.StreamResponse, log: AsyncIterator[bytes], piece: bytes | None) -> None:
    while piece is not None:
        await response.write(piece)
        piece = await _next(log)
    await response.write_eof()
