"""Certificates of a test's own authority, by openssl."""

from __future__ import annotations

import base64
import ssl
import subprocess
from pathlib import Path

__all__ = ["Authority"]


class Authority:
    """`folder` has ``ca.crt``, and for each name given out ``NAME.crt`` and ``NAME.key``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._openssl(*self._new("ca"), "-x509", "-subj", "/CN=test-authority", "-out", "ca.crt")

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str, alternative: str = "") -> tuple[Path, Path]:
        """A certificate for the common name `name`, and its key. `alternative`: ``IP:127.0.0.1``, ..."""
        self._openssl(*self._new(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        command = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2"]
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName={alternative}\n" if alternative else "")
        self._openssl(*command, "-CAcreateserial", "-extfile", "extensions", "-out", f"{name}.crt")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def server(self, alternative: str = "IP:127.0.0.1") -> ssl.SSLContext:
        """For a server that asks its clients for a certificate, and takes those without one too."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(*self.issue("server", alternative))
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def data(self, name: str) -> str:
        """A file of `folder` in base64, as a kubeconfig holds it."""
        return base64.b64encode((self.folder / name).read_bytes()).decode()

    @staticmethod
    def _new(name: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        return ("req", "-new", *curve, "-nodes", "-keyout", f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
