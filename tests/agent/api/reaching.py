"""A connection to a server with TLS, as a kubeconfig says."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from harness.certificates import Authority
from kcompile.agent.api.connection import Connection, connect

from .following import QUICK, kubeconfig
from .raw_server import Answer, Asked, RawServer, body, serving, transcript

__all__ = ["OK", "UNAUTHORIZED", "ask", "data", "pem", "reaching", "run", "server_context"]

OK = body({"metadata": {}})
UNAUTHORIZED = transcript("list-bad-token")


def server_context(authority: Authority, names: str) -> ssl.SSLContext:
    """For a server of these names that asks its clients for a certificate, and needs none."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(*authority.issue("server", f"subjectAltName={names}"))
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def pem(authority: Authority, name: str) -> str:
    return (authority.certificate.parent / name).read_text()


def data(authority: Authority, name: str) -> str:
    """As a kubeconfig holds it."""
    return base64.b64encode(pem(authority, name).encode()).decode()


async def ask(connection: Connection) -> str:
    async with connection.get("/api/v1/services", {}, "list of services", QUICK) as answer:
        return (await answer.aread()).decode()


@asynccontextmanager
async def reaching(
    path: Path,
    authority: Authority,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
    answer: Callable[[Asked], Answer] = lambda _: OK,
    names: str = "IP:127.0.0.1",
) -> AsyncIterator[tuple[Connection, RawServer]]:
    """A connection by a kubeconfig at `path` that trusts `authority`, and the server that it reaches."""
    async with serving(answer, tls=server_context(authority, names)) as server:
        trusted = {"certificate-authority": str(authority.certificate)} if cluster is None else cluster
        path.write_text(kubeconfig(server.url, user, trusted))
        connection = connect(str(path))
        try:
            yield connection, server
        finally:
            await connection.close()


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]
