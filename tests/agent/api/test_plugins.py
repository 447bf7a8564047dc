"""Credentials from an exec plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.certificates import Authority
from kcompile.errors import ApiError

from .raw_server import Answer, Asked
from .reaching import OK, UNAUTHORIZED, ask, pem, reaching, run


def plugin(folder: Path, *statuses: dict[str, Any], version: str = "v1") -> dict[str, Any]:
    """An exec plugin that prints these in turn, and then the last again. `folder` shows how often it ran, and
    what it was given.
    """
    folder.mkdir()
    kind = {"apiVersion": f"client.authentication.k8s.io/{version}", "kind": "ExecCredential"}
    for number, status in enumerate(statuses):
        (folder / str(number)).write_text(json.dumps({**kind, "status": status}))
    script = folder / "plugin"
    script.write_text(
        f"#!/bin/sh\ncd {folder}\necho run >>runs\n"
        'printf "%s" "$KUBERNETES_EXEC_INFO" >info; printf "%s %s" "$1" "$EXTRA" >given\n'
        f"n=$(($(wc -l <runs) - 1)); test $n -lt {len(statuses)} || n={len(statuses) - 1}; cat $n\n"
    )
    script.chmod(0o755)
    return {
        "apiVersion": kind["apiVersion"],
        "command": "./plugin",
        "args": ["get"],
        "env": [{"name": "EXTRA", "value": "more"}],
        "provideClusterInfo": True,
        "interactiveMode": "IfAvailable",
    }


def runs(folder: Path) -> int:
    return (folder / "runs").read_text().count("run")


def test_a_plugin_runs_once_and_again_after_its_expiry_and_a_401(tmp_path: Path, authority: Authority):
    folder = tmp_path / "exec"
    long, short = "2100-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
    given = plugin(
        folder,
        {"token": "first", "expirationTimestamp": short},
        {"token": "second", "expirationTimestamp": long},
        {"token": "third"},
    )
    refused = ["Bearer none"]

    def answer(asked: Asked) -> Answer:
        return UNAUTHORIZED if asked.headers["authorization"] == refused[0] else OK

    async def main() -> None:
        async with reaching(folder / "config", authority, {"exec": given}, None, answer) as (
            connection,
            server,
        ):
            for _ in range(3):
                await ask(connection)
            assert runs(folder) == 2
            refused[0] = "Bearer second"
            await ask(connection)
            assert runs(folder) == 3
            tokens = [asked.headers["authorization"] for asked in server.asked]
            assert tokens == [f"Bearer {word}" for word in ("first", "second", "second", "second", "third")]
            info = json.loads((folder / "info").read_text())
            assert info["apiVersion"] == given["apiVersion"]
            assert info["spec"] == {"interactive": False, "cluster": {"server": server.url}}
            assert (folder / "given").read_text() == "get more"

    run(main)


def test_a_plugin_that_gives_a_certificate(tmp_path: Path, authority: Authority):
    given = {
        "clientCertificateData": pem(authority, "somebody.crt"),
        "clientKeyData": pem(authority, "somebody.key"),
    }
    user = {"exec": plugin(tmp_path / "exec", given, version="v1beta1")}

    async def main() -> None:
        async with reaching(tmp_path / "exec" / "config", authority, user) as (connection, server):
            await ask(connection)
            assert server.asked[0].peer == "somebody"
            assert "authorization" not in server.asked[0].headers

    run(main)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo what >&2; echo now >&2; exit 3", "exec plugin .*/plugin: exit status 3: now"),
        ("echo hello", "printed no ExecCredential"),
        ('echo \'{"kind":"Pod","apiVersion":"v1"}\'', 'printed "Pod" of "v1"'),
        (None, "No such file or directory: install it"),
    ],
)
def test_a_plugin_that_fails(tmp_path: Path, authority: Authority, script: str | None, says: str):
    given = {**plugin(tmp_path / "exec", {"token": "a"}), "installHint": "install it\n"}
    command = tmp_path / "exec" / "plugin"
    command.write_text(f"#!/bin/sh\n{script}\n") if script else command.unlink()

    async def main() -> None:
        async with reaching(tmp_path / "exec" / "config", authority, {"exec": given}) as (connection, _):
            with pytest.raises(ApiError, match=says):
                await ask(connection)

    run(main)
