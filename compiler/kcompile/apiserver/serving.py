"""The server's life: from its socket to the end of its last watch."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .bodies import MAX_BODY
from .rest import Rest
from .store import Store
from .streams import Containers
from .tokens import Tokens
from .watch import Bell, Pace

__all__ = ["Serving", "serve"]


class Serving(NamedTuple):
    """A server that runs. `url` has no slash at its end; `path` is its unix socket, if it has one."""

    url: str
    path: Path | None


@asynccontextmanager
async def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    path: Path | None = None,
    sockets: Sequence[socket.socket] = (),
    token: str | Collection[str] | None = None,
    tls: ssl.SSLContext | None = None,
    pace: Pace | None = None,
    containers: Containers | None = None,
) -> AsyncIterator[Serving]:
    """Serve `store` over HTTP/1.1 in the running event loop until the block ends, which ends all watches.

    `port` 0 means any that is free; `path` is a unix socket instead; `sockets` are any number that listen
    already, instead of both, and `tls` isn't for the unix sockets among them. `token`: the bearer token, or
    tokens, to ask for. `pace`: when bookmarks are sent, and how long a watch lasts. `containers`: who answers
    for the containers of pods; without it their logs, exec, attach and port-forward are 501.
    """
    from aiohttp import web

    bell = Bell(store)
    app = web.Application(client_max_size=MAX_BODY)
    tokens = Tokens((token,) if isinstance(token, str) else token)
    rest = Rest(store, bell, pace or Pace(), tokens, containers)
    app.router.add_route("*", "/{path:.*}", rest.handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    scheme = "https" if tls else "http"
    try:
        for each in sockets:
            own = None if each.family == socket.AF_UNIX else tls
            await web.SockSite(runner, each, ssl_context=own).start()
        if path is not None:
            await web.UnixSite(runner, str(path), ssl_context=tls).start()
            yield Serving(f"{scheme}://localhost", path)
            return
        if not sockets:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
        yield Serving(_url(scheme, runner.addresses[0]), None)
    finally:
        bell.close()
        await runner.cleanup()


def _url(scheme: str, address: Any) -> str:
    """The URL of a socket's address; a unix socket's is its path."""
    if isinstance(address, str):
        return f"{scheme}://localhost"
    name = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{name}:{address[1]}"
