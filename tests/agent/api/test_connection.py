"""How a connection shows who it is and checks who answers, against a server with TLS."""

from __future__ import annotations

import asyncio
import gc
import re
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import Authority
from harness.certificates import authority as authority_of
from kcompile.agent.api.connection import connect
from kcompile.errors import ApiError

from .following import QUICK, kubeconfig
from .raw_server import Answer, Asked, serving
from .reaching import OK, UNAUTHORIZED, ask, data, pem, reaching, run, server_context


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"tokenFile": "token"}, "Bearer from-file"),
        ({"token": "abc", "tokenFile": "token"}, "Bearer from-file"),
        ({"username": "me", "password": "pw"}, "Basic bWU6cHc="),
        ({}, None),
    ],
)
def test_who_it_is(tmp_path: Path, authority: Authority, user: dict[str, Any], header: str | None):
    (tmp_path / "token").write_text("from-file\n")

    async def main() -> None:
        async with reaching(tmp_path / "config", authority, user) as (connection, server):
            await ask(connection)
            assert server.asked[0].headers.get("authorization") == header
            assert server.asked[0].headers["user-agent"].startswith("kcompile/")

    run(main)


def test_a_token_file_is_read_for_each_request_and_again_after_a_401(tmp_path: Path, authority: Authority):
    token = tmp_path / "token"
    token.write_text("one")
    valid = ["Bearer one"]

    def answer(asked: Asked) -> Answer:
        if asked.headers["authorization"] == valid[0]:
            return OK
        if valid[0] == "Bearer three":  # rotated between the request and its answer
            token.write_text("three")
        return UNAUTHORIZED

    async def main() -> None:
        async with reaching(tmp_path / "config", authority, {"tokenFile": str(token)}, None, answer) as (
            c,
            _,
        ):
            await ask(c)
            token.write_text("two")
            valid[0] = "Bearer two"
            await ask(c)
            valid[0] = "Bearer three"
            await ask(c)
            valid[0] = "nothing"
            with pytest.raises(ApiError, match="list of services: 401 Unauthorized"):
                await ask(c)

    run(main)


@pytest.mark.parametrize("as_data", [False, True])
def test_a_client_certificate_and_its_change(tmp_path: Path, authority: Authority, as_data: bool):
    certificate, key = tmp_path / "me.crt", tmp_path / "me.key"

    def become(name: str) -> dict[str, str]:
        certificate.write_bytes(pem(authority, f"{name}.crt").encode())
        key.write_bytes(pem(authority, f"{name}.key").encode())
        if not as_data:
            return {"client-certificate": "me.crt", "client-key": "me.key"}
        crt, secret = data(authority, f"{name}.crt"), data(authority, f"{name}.key")
        return {"client-certificate-data": crt, "client-key-data": secret}

    async def main() -> None:
        path = tmp_path / "config"
        async with reaching(path, authority, become("somebody")) as (connection, server):
            async with connection.get("/api/v1/nodes", {}, "list of nodes", QUICK) as under_way:
                user = become("another")
                path.write_text(
                    kubeconfig(server.url, user, {"certificate-authority": str(authority.certificate)})
                )
                await ask(connection)
                await under_way.aread()  # goes on over the connection that it has
            assert [asked.peer for asked in server.asked] == ["somebody", "another"]

    run(main)


@pytest.mark.parametrize("as_data", [False, True])
def test_who_is_trusted(tmp_path: Path, authority: Authority, as_data: bool):
    (tmp_path / "stranger").mkdir()
    stranger = authority_of(tmp_path / "stranger")

    def trusting(one: Authority) -> dict[str, str]:
        if as_data:
            return {"certificate-authority-data": data(one, "ca.crt")}
        (tmp_path / "ca.crt").write_bytes(one.certificate.read_bytes())
        return {"certificate-authority": "ca.crt"}

    async def main() -> None:
        path = tmp_path / "config"
        async with reaching(path, authority, None, trusting(stranger)) as (connection, server):
            with pytest.raises(ApiError, match="certificate verify failed"):
                await ask(connection)
            path.write_text(kubeconfig(server.url, None, trusting(authority)))
            await ask(connection)
        async with reaching(path, authority, None, {"insecure-skip-tls-verify": True}) as (connection, _):
            await ask(connection)
        named = {**trusting(authority), "tls-server-name": "api.test"}
        async with reaching(path, authority, None, named, names="DNS:api.test") as (connection, _):
            await ask(connection)
        async with reaching(path, authority, None, trusting(authority), names="DNS:api.test") as (
            connection,
            _,
        ):
            with pytest.raises(ApiError, match=r"certificate is not valid for '127\.0\.0\.1'"):
                await ask(connection)

    run(main)


def test_by_a_proxy(tmp_path: Path, authority: Authority):
    seen: list[str] = []

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head.split("\r\n")[0])
        host, port = re.findall(r"CONNECT (\S+):(\d+)", head)[0]
        behind = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pipe(reader, behind[1]), pipe(behind[0], writer))

    async def main() -> None:
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listener:
            url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            cluster = {"certificate-authority": str(authority.certificate), "proxy-url": url}
            async with reaching(tmp_path / "config", authority, {"token": "a"}, cluster) as (
                connection,
                server,
            ):
                await ask(connection)
                assert seen == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
                assert server.asked[0].headers["authorization"] == "Bearer a"

    run(main)


def test_a_request_that_is_cancelled_in_its_handshake_leaves_no_socket(tmp_path: Path, authority: Authority):
    """One that did would be a ResourceWarning, at the collection."""

    async def main() -> None:
        async with reaching(tmp_path / "config", authority) as (connection, _):
            for steps in range(4, 20):
                asking = asyncio.create_task(ask(connection))
                for _ in range(steps):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                await connection.close()

    run(main)
    gc.collect()


@pytest.mark.parametrize("excepted", ["127.0.0.0/8", "10.0.0.0/8, 127.0.0.1/32,x", "127.0.0.1"])
def test_an_address_that_no_proxy_excepts(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, excepted: str
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", excepted)

    async def main() -> None:
        async with reaching(tmp_path / "config", authority) as (connection, _):
            await ask(connection)
            monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
            again = connect(str(tmp_path / "config"))
            with pytest.raises(ApiError):
                await ask(again)
            await again.close()

    run(main)


def test_in_cluster(tmp_path: Path, authority: Authority):
    (tmp_path / "ca.crt").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "token").write_text("pod")

    async def main() -> None:
        async with serving(lambda _: OK, tls=server_context(authority, "IP:127.0.0.1")) as server:
            environ = {
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(server.port),
                "HOME": str(tmp_path),
            }
            connection = connect(environ=environ, account=tmp_path)
            await ask(connection)
            await connection.close()
            assert server.asked[0].headers["authorization"] == "Bearer pod"

    run(main)


def test_a_kubeconfig_that_breaks_later_is_an_error_that_passes(tmp_path: Path, authority: Authority):
    path = tmp_path / "config"

    async def main() -> None:
        async with reaching(path, authority) as (connection, _):
            await ask(connection)
            good = path.read_text()
            path.write_text("clusters: [")
            with pytest.raises(ApiError, match=r"config: "):
                await ask(connection)
            path.write_text(good + " ")
            await ask(connection)

    run(main)


def test_no_key_reaches_a_disk(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    user = {
        "client-certificate-data": data(authority, "somebody.crt"),
        "client-key-data": data(authority, "somebody.key"),
    }
    path = tmp_path / "config"
    path.write_text(
        kubeconfig("https://127.0.0.1:1", user, {"certificate-authority-data": data(authority, "ca.crt")})
    )
    connect(str(path))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
