"""The plainest client of an API server: requests and watches over aiohttp, and what came back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

__all__ = ["Answer", "Client", "client"]


class Answer(NamedTuple):
    """`body` is decoded where it is JSON. `length`: bytes of the body as sent."""

    status: int
    headers: dict[str, str]
    body: Any
    length: int


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: URL) -> None:
        self._session, self.url = session, url

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; the names of `headers` have underscores."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"json": body} if isinstance(body, dict) else {"data": body}
        async with self._session.request(method, _url(path), headers=fields, **content) as response:
            raw = await response.read()
            plain = response.content_type != "application/json"
            found = raw.decode() if plain else json.loads(raw)
            fields = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, fields, found, len(raw))

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    @asynccontextmanager
    async def watch(
        self, path: str, **headers: str
    ) -> AsyncIterator[AsyncIterator[tuple[str, dict[str, Any]]]]:
        """The events of a watch, until it ends; the names of `headers` have underscores."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.get(_url(path), headers=fields) as response:
            assert response.status == 200, await response.text()
            yield _events(response)

    async def events(self, path: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The first `count` events of a watch."""
        found: list[tuple[str, dict[str, Any]]] = []
        async with self.watch(path) as events:
            while len(found) < count:
                found.append(await anext(events))
        return found


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    async for line in response.content:
        event = json.loads(line)
        yield event["type"], event["object"]


def _url(path: str) -> URL:
    return URL(path, encoded=True)


@asynccontextmanager
async def client(url: str, token: str = "", **options: Any) -> AsyncIterator[Client]:
    """A client of the server at `url`. `options` are aiohttp's."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout, **options) as session:
        yield Client(session, URL(url))
