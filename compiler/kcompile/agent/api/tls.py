"""The TLS context of a Login: the CAs to trust, and the client's certificate. No temporary files."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import ConfigError
from ...spec.text import printable
from .credentials import Credential
from .kubeconfig import Cluster, Login, User

__all__ = ["tls_context"]


def tls_context(login: Login, credential: Credential | None) -> ssl.SSLContext:
    """For connections of `login`; the certificate of `credential` comes before the user's.

    :raises ConfigError: for files and data that can't be used
    """
    if login.cluster.server.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used: reading the system's CAs takes 30 ms
    context = _trusting(login.cluster, login.cluster_at)
    if credential is not None and credential.client_certificate_data:
        pem, secret = credential.client_certificate_data.encode(), credential.client_key_data.encode()
        with _readable(pem) as certificate, _readable(secret) as key:
            _show(context, certificate, key, f"{login.user_at}.exec: its certificate")
    elif login.user.client_certificate or login.user.client_certificate_data:
        _show_own(context, login.user, login.user_at)
    return context


def _trusting(cluster: Cluster, where: str) -> ssl.SSLContext:
    path, data = cluster.certificate_authority, cluster.certificate_authority_data
    field = f"{where}.certificate-authority{'-data' if data else f': {printable(path)}'}"
    try:
        if data:
            text = _decoded(data, field).decode("ascii", errors="replace")
            context = ssl.create_default_context(cadata=text)
        else:
            context = ssl.create_default_context(cafile=path or None)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(f"{field}: {_reason(error)}") from None
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _show_own(context: ssl.SSLContext, user: User, where: str) -> None:
    path, data = user.client_certificate, user.client_certificate_data
    with (
        _source(path, data, f"{where}.client-certificate-data") as certificate,
        _source(user.client_key, user.client_key_data, f"{where}.client-key-data") as key,
    ):
        field = f"{where}.client-certificate{'-data' if data else f': {printable(path)}'}"
        _show(context, certificate, key, field)


@contextmanager
def _source(path: str, data: str, field: str) -> Iterator[str]:
    if not data:
        yield path
        return
    with _readable(_decoded(data, field)) as name:
        yield name


def _show(context: ssl.SSLContext, certificate: str, key: str, field: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"{field}: {_reason(error)}") from None


@contextmanager
def _readable(data: bytes) -> Iterator[str]:
    """A name under which `data` can be read: OpenSSL takes keys from files alone. Nothing reaches a disk."""
    descriptor = os.memfd_create("kcompile", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _decoded(data: str, field: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{field}: not base64") from None


def _reason(error: Exception) -> str:
    """Why a certificate can't be used, in a few words."""
    if isinstance(error, ssl.SSLError):
        return f"not usable ({(error.reason or 'no PEM').replace('_', ' ').lower()})"
    return error.strerror or "can't be read" if isinstance(error, OSError) else "not a certificate"
