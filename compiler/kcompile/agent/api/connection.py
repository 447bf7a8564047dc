"""HTTP to one API server as a Login says, by lightkube's authentication and HTTP library.

What lightkube 1.0 leaves to do is done in this package: several kubeconfig files; exec plugins of version v1,
with an expiry, or that give a certificate; a proxy-url and a tls-server-name; certificate data without a
temporary file (a read-only root has no place for one); files that change. A token file is read for each
request, of which there are few; after a 401 everything is read again, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import __version__
from ...errors import ApiError, ConfigError
from ...spec.text import printable
from .backoff import Timing
from .credentials import Credential, run_plugin
from .failures import CutError, refusal, translated
from .kubeconfig import ACCOUNT, Login, find_login
from .tls import tls_context

if TYPE_CHECKING:
    import httpx2

__all__ = ["Connection", "connect"]

_GRACE = 0.5
"""Seconds that a request has to end in, when its task is cancelled."""

_Signature = tuple[tuple[int, int, int] | None, ...]


def connect(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    account: Path = ACCOUNT,
) -> Connection:
    """The connection that `context` of `kubeconfig` describes; by default as kubectl finds it, or in cluster.

    Nothing is sent yet.

    :raises ConfigError: for a kubeconfig that can't be read, naming file and field
    """

    def login() -> Login:
        return find_login(kubeconfig, context, environ=environ, account=account)

    return Connection(login, environ)


class _Client:
    """An HTTP client, closed when it is replaced and its last answer has ended."""

    def __init__(self, client: httpx2.AsyncClient, login: Login, credential: Credential | None) -> None:
        self.http, self.login, self.credential = client, login, credential
        self.signature = _signature(login)
        self._users = 0
        self._retired = False

    def is_current(self) -> bool:
        expired = self.credential is not None and self.credential.is_expired()
        return not expired and self.signature == _signature(self.login)

    async def retire(self) -> None:
        self._retired = True
        if not self._users:
            await self.http.aclose()

    async def __aenter__(self) -> _Client:
        self._users += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        if self._retired and not self._users:
            await self.http.aclose()


class Connection:
    """Asks one API server. `login` reads the kubeconfig; it is called again when its files change."""

    def __init__(self, login: Callable[[], Login], environ: Mapping[str, str] = os.environ) -> None:
        self._login, self._environ = login, environ
        self._client: _Client | None = None
        self._lock: asyncio.Lock | None = None
        self._first: Login | None = login()
        _http_client(self._first, None, environ)  # what would fail the first request fails now
        self.server = self._first.cluster.server

    @asynccontextmanager
    async def get(
        self,
        path: str,
        params: Mapping[str, str],
        what: str,
        timing: Timing,
        *,
        gzip: bool = False,
        lasting: bool = False,
    ) -> AsyncIterator[httpx2.Response]:
        """The answer to GET `path`, its body not read yet.

        `lasting`: a watch, whose body may pause for any time. `what` is asked for, for messages.

        :raises ApiError: RefusedError for an answer other than 200; CutError where the connection fails, now
            or later; for an answer that isn't JSON
        """
        what = f"{self.server}: {what}"
        with translated(what):
            for last in (False, True):
                async with await self._current() as client:
                    answer = await self._send(client, path, params, what, timing, gzip=gzip, lasting=lasting)
                    try:
                        if answer.status_code == 401 and not last:
                            await self._forget(client)
                            continue
                        if answer.status_code != 200:
                            async with asyncio.timeout(timing.answer):
                                body = await answer.aread()
                            raise refusal(body, what, answer.status_code, answer.headers)
                        kind = answer.headers.get("content-type", "application/json")
                        if not kind.startswith("application/json"):
                            raise ApiError(f"{what}: {printable(kind)} instead of JSON: no API server")
                        yield answer
                        return
                    finally:
                        await answer.aclose()

    async def close(self) -> None:
        """Close every connection that isn't in use."""
        if self._client is not None:
            await self._forget(self._client)

    async def _send(
        self,
        client: _Client,
        path: str,
        params: Mapping[str, str],
        what: str,
        timing: Timing,
        *,
        gzip: bool,
        lasting: bool,
    ) -> httpx2.Response:
        import httpx2

        cluster = client.login.cluster
        read = None if lasting else timing.answer
        request = client.http.build_request(
            "GET",
            cluster.server.rstrip("/") + path,
            params=dict(params),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip" if gzip else "identity",
                "User-Agent": f"kcompile/{__version__}",
            },
            timeout=httpx2.Timeout(timing.answer, read=read),
            extensions={"sni_hostname": cluster.tls_server_name} if cluster.tls_server_name else None,
        )
        try:
            async with asyncio.timeout(timing.answer):
                sending = asyncio.ensure_future(client.http.send(request, auth=_auth(client), stream=True))
                return await _sent(sending)
        except TimeoutError:
            raise CutError(f"{what}: no answer in {timing.answer:.0f} s") from None
        except (httpx2.ConnectError, httpx2.ProxyError):
            await self._forget(client)  # the server's certificate may have changed, and the CA's file with it
            raise

    async def _forget(self, client: _Client) -> None:
        """Read files and credentials again before the next request."""
        if self._client is client:
            self._client = None
            await client.retire()

    async def _current(self) -> _Client:
        """The client for a new request. Raises ApiError where one can't be made."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._client is not None and not self._client.is_current():
                await self._forget(self._client)
            if self._client is None:
                self._client = await self._made()
            return self._client

    async def _made(self) -> _Client:
        try:
            login = self._first or self._login()
            self._first = None
            plugin = login.user.exec
            credential = await run_plugin(plugin, login.cluster) if plugin else None
            http = _http_client(login, credential, self._environ)
        except ConfigError as error:  # it could be read at the start: somebody is changing it
            raise ApiError(str(error)) from None
        self.server = login.cluster.server
        return _Client(http, login, credential)


async def _sent(sending: asyncio.Future[httpx2.Response]) -> httpx2.Response:
    """The answer. A cancelled TLS handshake would leave its socket open, so one that is under way may end."""
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        await asyncio.wait({sending}, timeout=_GRACE)
        sending.cancel()
        (answer,) = await asyncio.gather(sending, return_exceptions=True)
        if not isinstance(answer, BaseException):
            await answer.aclose()
        raise


def _http_client(
    login: Login, credential: Credential | None, environ: Mapping[str, str]
) -> httpx2.AsyncClient:
    """A client of the HTTP library; it takes proxies of the environment too. Raises ConfigError."""
    import httpx2

    try:
        return httpx2.AsyncClient(
            verify=tls_context(login, credential),
            proxy=login.cluster.proxy_url or None,
            trust_env=not _is_excepted(login.cluster.server, environ),
            timeout=None,
        )
    except (ValueError, ImportError, httpx2.InvalidURL) as error:
        where = f"{login.cluster_at}.proxy-url" if login.cluster.proxy_url else "a proxy of the environment"
        raise ConfigError(f"{where}: {printable(str(error))}") from None


def _is_excepted(server: str, environ: Mapping[str, str]) -> bool:
    """True if a CIDR in $NO_PROXY has the server's address; the HTTP library doesn't read CIDRs, Go does."""
    host = urlsplit(server).hostname or ""
    given = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        for entry in given.split(","):
            with contextlib.suppress(ValueError):
                if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return False


def _auth(client: _Client) -> Any:
    """Authentication for one request: lightkube's, which reads a token file now, and again after a 401.

    None for a user who has at most a certificate, and a header for one with a token: lightkube takes 0.3 s of
    a CPU to import.
    """
    user, credential = client.login.user, client.credential
    token = (credential.token if credential else "") or user.token
    if not (token or user.token_file or user.username):
        return None
    if token and not user.token_file:
        return partial(_with_token, token)
    from lightkube.config.client_adapter import user_auth
    from lightkube.config.models import User as LightkubeUser

    return user_auth(
        LightkubeUser(
            token=token or None,
            token_file=user.token_file or None,
            username=user.username or None,
            password=user.password or None,
        )
    )


def _with_token(token: str, request: httpx2.Request) -> httpx2.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def _signature(login: Login) -> _Signature:
    """Changes with any file of `login`."""
    return tuple(_stat(path) for path in login.watched)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
