"""Credentials from an exec plugin (client.authentication.k8s.io), until they expire."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from ... import spawn
from ...errors import ApiError
from ...spec.text import printable, shown
from .kubeconfig import Cluster, Exec

__all__ = ["Credential", "run_plugin"]

_LONGEST = 60.0
"""Seconds that a plugin may take."""

_EARLY = 10.0
"""Seconds before its expiry in which a credential isn't used any more."""


class Credential(msgspec.Struct, rename="camel", frozen=True):
    """What a plugin printed: a token, or a certificate and its key in PEM."""

    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None

    def is_expired(self) -> bool:
        expiry = self.expiration_timestamp
        return expiry is not None and (expiry - datetime.now(UTC)).total_seconds() < _EARLY


class _Answer(msgspec.Struct, rename="camel"):
    kind: str
    api_version: str
    status: Credential | None = None


async def run_plugin(plugin: Exec, cluster: Cluster) -> Credential:
    """Run `plugin` and read what it prints.

    :raises ApiError: where it fails, or prints no credential
    """
    name = f"exec plugin {printable(plugin.command)}"
    program = plugin.command if "/" in plugin.command else spawn.on_path(plugin.command)
    if program is None:
        raise ApiError(f"{name}: not found{_hint(plugin)}")
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *(plugin.args or ()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env=_environment(plugin, cluster),
            cwd="/",
        )
    except OSError as error:
        raise ApiError(f"{name}: {error.strerror}{_hint(plugin)}") from None
    try:
        async with asyncio.timeout(_LONGEST):
            output, errors = await process.communicate()
    except TimeoutError:
        raise ApiError(f"{name}: no answer in {_LONGEST:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise ApiError(f"{name}: exit status {process.returncode}: {printable(said)}")
    return _credential(name, plugin, output)


def _credential(name: str, plugin: Exec, output: bytes) -> Credential:
    try:
        answer = msgspec.json.decode(output, type=_Answer)
    except msgspec.DecodeError as error:
        raise ApiError(f"{name}: printed no ExecCredential: {printable(str(error))}") from None
    if answer.kind != "ExecCredential" or answer.api_version != plugin.api_version:
        raise ApiError(f"{name}: printed {shown(answer.kind)} of {shown(answer.api_version)}")
    credential = answer.status or Credential()
    if bool(credential.client_certificate_data) != bool(credential.client_key_data):
        raise ApiError(f"{name}: a certificate and its key go together")
    if not credential.token and not credential.client_certificate_data:
        raise ApiError(f"{name}: its status has neither a token nor a certificate")
    return credential


def _environment(plugin: Exec, cluster: Cluster) -> Mapping[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        info = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify,
            "certificate-authority-data": cluster.certificate_authority_data,
            "proxy-url": cluster.proxy_url,
        }
        spec["cluster"] = {key: value for key, value in info.items() if value}
    question = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    own = {each.name: each.value for each in plugin.env or ()}
    given = {"KUBERNETES_EXEC_INFO": msgspec.json.encode(question).decode()}
    return {**os.environ, "PATH": spawn.search_path(), **own, **given}


def _hint(plugin: Exec) -> str:
    return f": {printable(plugin.install_hint.strip())}" if plugin.install_hint else ""
