"""What every HTTP server of ours is made of: pages by path, and where they are served."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ...errors import InputError
from .health import Answer

if TYPE_CHECKING:
    from aiohttp.web import Application, Request, StreamResponse

__all__ = ["SERVER", "Handler", "app_of", "ip_and_port", "json_page", "serve_app"]

SERVER = {"Server": "kcompile"}
"""A header of every answer."""
Handler = Callable[["Request"], Awaitable["StreamResponse"]]


def app_of(pages: Mapping[str, Handler]) -> Application:
    """An application with these GET pages, by path."""
    from aiohttp import web

    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in pages.items()])
    return app


def json_page(page: Callable[[], Answer]) -> Handler:
    """A page whose answer is JSON."""

    async def handler(_: Request) -> StreamResponse:
        from aiohttp import web

        answer = page()
        headers = {**SERVER, "X-Content-Type-Options": "nosniff"}
        return web.Response(
            text=answer.body, status=answer.status, content_type="application/json", headers=headers
        )

    return handler


async def serve_app(app: Application, listener: socket.socket, stack: AsyncExitStack) -> None:
    """Serve `app` on `listener` until `stack` ends."""
    from aiohttp import web

    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0.1)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.SockSite(runner, listener).start()


def ip_and_port(address: str) -> tuple[str, int]:
    """The IP and the port of ``IP:PORT`` or ``[IP]:PORT``; port 0 is one of the kernel's choice. Raises
    InputError.
    """
    ip, _, port = address.rpartition(":")
    ip = ip.removeprefix("[").removesuffix("]")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(ip)
        if port.isdecimal() and int(port) < 1 << 16:
            return ip, int(port)
    raise InputError(f"{address}: not IP:PORT")
