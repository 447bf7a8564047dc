"""The certificates of a server that nobody else signs for: an authority, and a certificate by it.

Needs the library cryptography, of the extra `lab`.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_whole

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["make_certificates", "server_context"]

_VALID = timedelta(days=365)
_CLOCKS = timedelta(hours=1)  # by which a client's clock may be late
_FILES = ("ca.crt", "server.crt", "server.key")


def make_certificates(folder: Path, names: Sequence[str]) -> Path:
    """Write ca.crt, server.crt and server.key into `folder`; returns the first, with which clients check.

    `names`: the DNS names and addresses by which clients reach the server. The authority's own key isn't
    kept: nothing else is ever signed by it.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    own, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("kcompile", own, "kcompile", own, ())
    certificate = _certificate(names[0], key, "kcompile", own, names)
    for name, text in zip(_FILES, (_pem(authority), _pem(certificate), _key_pem(key)), strict=True):
        write_whole(folder / name, text)
    return folder / _FILES[0]


def server_context(folder: Path) -> ssl.SSLContext:
    """The TLS context of a server, with what `make_certificates` wrote into `folder`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuers_key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
) -> x509.Certificate:
    """A certificate for `key`; an authority's where it has no `names`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    now, public = datetime.now(UTC), key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if names:
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuers_key.public_key())
        builder = builder.add_extension(signer, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(map(_general, names)), critical=False)
    return builder.sign(issuers_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _general(name: str) -> x509.GeneralName:
    """The name of a server, or its address."""
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
