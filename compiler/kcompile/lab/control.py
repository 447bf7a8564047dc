"""What the lab's process answers beside the API, on a socket of its own: how far it is, its mode, its images.

GET /status      a `Standing`
POST /wait       a line of JSON each time that what it waits for changes, the last one with the outcome
POST /mode       changes the mode of all nodes, one after the other
POST /images     adds images
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..agent.serve.unix import listen_at
from ..errors import KcompileError
from .waiting import Named, failures, unpublished, unready

if TYPE_CHECKING:
    from aiohttp import web

    from .agents import Agents
    from .client import Client
    from .settings import LabSettings

__all__ = ["API_SOCKET", "SOCKET", "Control", "Standing"]

API_SOCKET, SOCKET = "api.sock", "control.sock"
"""The sockets in the lab's folder: the API's, and this one."""

_LOOK = 0.03  # seconds between two looks at what is waited for
_SHARE = 10  # so many times as long as a look takes, at least


class Standing(msgspec.Struct):
    """The lab's settings that can change, its nodes' modes, and what isn't done yet."""

    mode: str
    modes: dict[str, str]
    waiting: list[str]


class Control:
    """Answers for the lab in `directory`."""

    def __init__(self, settings: LabSettings, client: Client, agents: Agents, directory: Path) -> None:
        self._settings, self._client, self._agents = settings, client, agents
        self._directory = directory

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Answer until the block ends."""
        from aiohttp import web

        app = web.Application()
        app.router.add_get("/status", self._status)
        app.router.add_post("/wait", self._wait)
        app.router.add_post("/mode", _told(self._mode))
        app.router.add_post("/images", _told(self._images))
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.SockSite(runner, listen_at(self._directory, SOCKET)).start()
            yield
        finally:
            await runner.cleanup()

    async def _status(self, _: web.Request) -> web.Response:
        from aiohttp import web

        standing = Standing(self._agents.mode, self._agents.modes(), self._agents.waiting())
        return web.Response(body=msgspec.json.encode(standing), content_type="application/json")

    async def _mode(self, body: Any) -> None:
        mode = body["mode"]
        await self._agents.change_mode(mode)
        self._settings.mode = mode
        self._settings.save(self._directory)

    async def _images(self, body: Any) -> None:
        self._settings.images.update(body)
        self._settings.save(self._directory)

    async def _wait(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        body = await request.json()
        wanted = [Named(*each) for each in body["objects"]]
        response = web.StreamResponse()
        await response.prepare(request)
        async for line in self._progress(wanted, float(body["timeout"])):
            await response.write(json.dumps(line).encode() + b"\n")
        await response.write_eof()
        return response

    async def _progress(self, wanted: list[Named], timeout: float) -> AsyncIterator[dict[str, Any]]:
        """What is waited for, each time that it changes; at last ``ready``, ``failed`` or ``late``."""
        deadline = time.monotonic() + timeout
        shown: list[str] = []
        calm = False
        failing: float | None = None
        while True:
            began = time.monotonic()
            lines = self._lacking(wanted)
            if not lines and calm:
                yield {"ready": True}
                return
            calm = not lines
            failed = next(failures(self._client.objects, wanted), None) if lines else None
            now = time.monotonic()
            failing = None if failed is None else failing or now
            if failed is not None and failing is not None and now - failing > failed.patience:
                meta = failed.pod["metadata"]
                yield {"failed": [meta["namespace"], meta["name"], failed.reason], "waiting": lines}
                return
            if now > deadline:
                yield {"late": True, "waiting": lines}
                return
            if lines != shown:
                shown = lines
                yield {"waiting": lines}
            await asyncio.sleep(max(_LOOK, _SHARE * (now - began)))  # a look at many pods takes long

    def _lacking(self, wanted: list[Named]) -> list[str]:
        objects = self._client.objects
        lines = unready(objects, wanted) or unpublished(objects)
        return lines + [f"rules of {node}" for node in self._agents.waiting()]


def _told(handle: Callable[[Any], Awaitable[None]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that does what the body asks for; a KcompileError is answered with its text."""

    async def answer(request: web.Request) -> web.Response:
        from aiohttp import web

        try:
            await handle(await request.json())
        except KcompileError as error:
            return web.json_response({"error": str(error), "status": error.exit_code}, status=409)
        return web.json_response({})

    return answer
