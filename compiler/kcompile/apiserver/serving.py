"""The server's life: from its socket to the end of its last watch."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from .bodies import MAX_BODY
from .rest import Rest
from .store import Store
from .streams import Containers
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
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
    pace: Pace | None = None,
    containers: Containers | None = None,
) -> AsyncIterator[Serving]:
    """Serve `store` over HTTP/1.1 in the running event loop until the block ends, which ends all watches.

    `port` 0 means any that is free; `path` is a unix socket instead. `token`: the bearer token to ask for.
    `pace`: when bookmarks are sent, and how long a watch lasts. `containers`: who answers for the containers
    of pods; without it their logs, exec, attach and port-forward are 501.
    """
    from aiohttp import web

    bell = Bell(store)
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", Rest(store, bell, pace or Pace(), token, containers).handle)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    scheme = "https" if tls else "http"
    try:
        if path is not None:
            await web.UnixSite(runner, str(path), ssl_context=tls).start()
            yield Serving(f"{scheme}://localhost", path)
        else:
            await web.TCPSite(runner, host, port, ssl_context=tls).start()
            address = runner.addresses[0]
            name = f"[{address[0]}]" if ":" in address[0] else address[0]
            yield Serving(f"{scheme}://{name}:{address[1]}", None)
    finally:
        bell.close()
        await runner.cleanup()
