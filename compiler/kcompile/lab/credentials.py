"""How a lab's API server is reached: its certificates, tokens and kubeconfigs, made anew with each lab.

ca.crt, server.crt, server.key   of the API server
token, kubeconfig                for the user and the user's kubectl
account/                         for pods: ca.crt and token of their service account, and a kubeconfig
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..apiserver import make_certificates, server_context
from ..errors import InputError
from ..files import write_whole

__all__ = ["Credentials", "account", "export", "make", "write_kubeconfigs"]

_MARK = "kcompile-lab-"  # begins the names in a kubeconfig of ours
_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class Credentials(NamedTuple):
    """`ca`: PEM text; `tls`: the server's; `token`: the user's; `pod_token`: of every service account."""

    ca: str
    tls: ssl.SSLContext
    token: str
    pod_token: str


def account(directory: Path) -> Path:
    """The folder for pods, in that of the lab."""
    return directory / "account"


def make(directory: Path, addresses: Iterable[str]) -> Credentials:
    """Write the files, but for kubeconfigs, into the lab's folder; the certificate names `addresses`."""
    ca = make_certificates(directory, [*_NAMES, *addresses]).read_text()
    made = Credentials(ca, server_context(directory), secrets.token_urlsafe(32), secrets.token_urlsafe(32))
    write_whole(directory / "token", made.token.encode(), private=True)
    folder = account(directory)
    folder.mkdir(mode=0o755)
    write_whole(folder / "ca.crt", made.ca.encode(), mode=0o644)
    write_whole(folder / "token", made.pod_token.encode(), mode=0o644)
    return made


def write_kubeconfigs(directory: Path, lab: str, made: Credentials, outside: str, inside: str) -> None:
    """Write both: for the API server at the URL `outside`, and for pods at the URL `inside`."""
    text = _kubeconfig(lab, outside, made.ca, made.token)
    write_whole(directory / "kubeconfig", text.encode(), private=True)
    text = _kubeconfig(lab, inside, made.ca, made.pod_token)
    write_whole(account(directory) / "kubeconfig", text.encode(), mode=0o644)


def _kubeconfig(lab: str, server: str, ca: str, token: str) -> str:
    """A kubeconfig's text. JSON is YAML too."""
    name = f"{_MARK}{lab}"
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca.encode()).decode()}
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(config, indent=1) + "\n"


def export(directory: Path, target: Path) -> None:
    """Copy a lab's kubeconfig to the user's file `target`. Raises InputError where that isn't a lab's."""
    if target.exists() and f'"{_MARK}' not in target.read_text(errors="replace"):
        raise InputError(
            f"--kubeconfig {target}: a kubeconfig of another cluster is there; name another file"
        )
    try:
        write_whole(target.absolute(), (directory / "kubeconfig").read_bytes())
    except FileNotFoundError:
        raise InputError(f"--kubeconfig {target}: there is no folder {target.parent}") from None
