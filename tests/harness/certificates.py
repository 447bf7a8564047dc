"""Certificates for servers on the loopback, signed by one authority of a test, by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["Authority", "authority"]

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority(NamedTuple):
    """`certificate`: the file with which clients check. `servers`: certificates with their keys."""

    certificate: Path
    servers: list[tuple[Path, Path]]

    def server(self) -> ssl.SSLContext:
        """A server's context, with the first certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.servers[0])
        return context

    def issue(self, name: str, names: str = _NAMES) -> tuple[Path, Path]:
        """A certificate for the common name `name`, and its key; `names` is the extension with its names."""
        folder = self.certificate.parent
        pair = folder / f"{name}.crt", folder / f"{name}.key"
        signer = ("-CA", str(self.certificate), "-CAkey", str(folder / "ca.key"))
        _openssl(*_request(name, *pair), "-x509", *signer, "-addext", names)
        return pair

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)


def authority(folder: Path, servers: int = 1) -> Authority:
    """Make an authority and certificates for `servers`, valid for a day."""
    own = folder / "ca.crt", folder / "ca.key"
    _openssl(
        *_request("kcompile test authority", *own), "-x509", "-addext", "basicConstraints=critical,CA:TRUE"
    )
    found = Authority(own[0], [])
    found.servers.extend(found.issue(f"server{number}") for number in range(servers))
    return found


def _request(name: str, certificate: Path, key: Path) -> list[str]:
    files = ["-out", str(certificate), "-keyout", str(key)]
    return ["req", *_KEY, "-subj", f"/CN={name}", "-days", "1", *files]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
