"""kubeconfig files, merged as kubectl does, to the one Login that a context means.

Of several files, the first to name a cluster, user or context counts, and the first current-context. A
relative path in a file is relative to that file. What would change the meaning and can't be done here is an
error: impersonation, an auth-provider.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...errors import ConfigError
from ...spec.decode import without_nulls
from ...spec.reader import MAX_BYTES, Unreadable, check_text, read
from ...spec.text import Wrong, explain, printable, shown
from ...spec.yaml_reader import yaml_documents

__all__ = ["ACCOUNT", "Cluster", "EnvVar", "Exec", "Login", "User", "find_login"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the token and the CA of its service account."""

_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"


class _Fields(msgspec.Struct, rename="kebab"):
    pass


class Cluster(_Fields):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class EnvVar(msgspec.Struct):
    name: str
    value: str = ""


class Exec(msgspec.Struct, rename="camel"):
    """An exec plugin (client.authentication.k8s.io)."""

    api_version: str
    command: str
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    install_hint: str | None = None
    provide_cluster_info: bool = False
    interactive_mode: str | None = None


class User(_Fields):
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    exec: Exec | None = None
    auth_provider: Any = None
    impersonate: str = msgspec.field(default="", name="as")


class _Context(_Fields):
    cluster: str = ""
    user: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: Cluster | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context | None = None


class _File(_Fields):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


class Login(msgspec.Struct, frozen=True):
    """How to reach one API server, and as which user. Paths are absolute.

    `files`: those that it was read from. `cluster_at`, `user_at`: file and field, for messages.
    """

    cluster: Cluster
    user: User
    files: tuple[Path, ...]
    cluster_at: str
    user_at: str

    @property
    def watched(self) -> tuple[Path, ...]:
        """Every file whose change needs a new connection; token files are read for each request anyway."""
        named = (
            self.cluster.certificate_authority,
            self.user.client_certificate,
            self.user.client_key,
        )
        return (*self.files, *(Path(path) for path in named if path))


def find_login(
    kubeconfig: str | None,
    context: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    account: Path = ACCOUNT,
) -> Login:
    """The login of `context` (by default the current one) in `kubeconfig`, else in the files of $KUBECONFIG,
    else in ~/.kube/config, else the service account of the pod that this runs in.

    :raises ConfigError: naming the file and the field
    """
    paths = _paths(kubeconfig, environ)
    if not paths:
        if account.is_dir():
            if context:
                raise ConfigError(f"--context {printable(context)}: a service account has no contexts")
            return _in_cluster(account, environ)
        raise ConfigError("no kubeconfig: give --kubeconfig or $KUBECONFIG; there is no ~/.kube/config")
    return _chosen([(path, _read(path)) for path in paths], context)


def _paths(kubeconfig: str | None, environ: Mapping[str, str]) -> list[Path]:
    """The files to read; those of $KUBECONFIG that don't exist are passed over, as kubectl does."""
    if kubeconfig:
        return [Path(kubeconfig).expanduser().absolute()]
    if given := environ.get("KUBECONFIG", ""):
        named = [Path(each).expanduser().absolute() for each in given.split(os.pathsep) if each]
        found = [path for path in named if path.exists()]
        if not found:
            raise ConfigError(f"$KUBECONFIG: no such file: {printable(given)}")
        return found
    home = Path(environ.get("HOME", "/root")) / ".kube" / "config"
    return [home] if home.is_file() else []


def _read(path: Path) -> _File:
    name = printable(str(path))
    try:
        documents = [value for _, value in yaml_documents(check_text(read(str(path), None, MAX_BYTES)), [])]
    except Unreadable as error:
        raise ConfigError(f"{name}: {error.message}") from None
    except Wrong as error:
        raise ConfigError(f"{name}: {error.message}") from None
    value = documents[0] if documents else {}
    if not isinstance(value, dict) or len(documents) > 1:
        raise ConfigError(f"{name}: not a kubeconfig: it must hold one mapping")
    try:
        return msgspec.convert(without_nulls(value), _File)
    except msgspec.ValidationError as error:
        wrong = explain(error, value)
        raise ConfigError(": ".join(filter(None, (name, wrong.field, wrong.message)))) from None


def _chosen(files: Sequence[tuple[Path, _File]], context: str | None) -> Login:
    """The login that `context` of the merged `files` means."""
    all_names = ", ".join(printable(str(path)) for path, _ in files)
    name = context or next((file.current_context for _, file in files if file.current_context), "")
    if not name:
        raise ConfigError(f"{all_names}: current-context: not set; give --context")
    path, entry = _first(files, "contexts", name) or (None, None)
    if path is None or not isinstance(entry, _NamedContext):
        field = "--context" if context else "current-context"
        raise ConfigError(f"{all_names}: {field}: there is no context {shown(name)}")
    chosen = entry.context or _Context()
    where = f"{printable(str(path))}: contexts[{shown(name)}]"
    cluster_path, cluster = _named(files, "clusters", chosen.cluster, f"{where}.context.cluster")
    cluster_at = f"{printable(str(cluster_path))}: clusters[{shown(chosen.cluster)}].cluster"
    user, user_path, user_at = None, path, ""
    if chosen.user:
        user_path, user = _named(files, "users", chosen.user, f"{where}.context.user")
        user_at = f"{printable(str(user_path))}: users[{shown(chosen.user)}].user"
    return Login(
        _checked_cluster(cluster or Cluster(), cluster_path, cluster_at),
        _checked_user(user or User(), user_path, user_at),
        tuple(dict.fromkeys(file for file, _ in files)),
        cluster_at,
        user_at,
    )


_Entry = _NamedCluster | _NamedUser | _NamedContext


def _first(files: Sequence[tuple[Path, _File]], section: str, name: str) -> tuple[Path, _Entry] | None:
    for path, file in files:
        entries: list[_Entry] = getattr(file, section) or []
        for entry in entries:
            if entry.name == name:
                return path, entry
    return None


def _named(files: Sequence[tuple[Path, _File]], section: str, name: str, where: str) -> tuple[Path, Any]:
    """The file and the value of an entry. Raises ConfigError where it is missing."""
    found = _first(files, section, name)
    if found is None:
        raise ConfigError(f"{where}: there is no {section.removesuffix('s')} {shown(name)}")
    path, entry = found
    return path, getattr(entry, section.removesuffix("s"))


def _checked_cluster(cluster: Cluster, path: Path, where: str) -> Cluster:
    """`cluster` with absolute paths. Raises ConfigError for what has no meaning."""
    if not cluster.server.startswith(("https://", "http://")):
        raise ConfigError(f"{where}.server: {shown(cluster.server)} is not a URL of http or https")
    authority = cluster.certificate_authority or cluster.certificate_authority_data
    if cluster.insecure_skip_tls_verify and authority:
        raise ConfigError(f"{where}.insecure-skip-tls-verify: must not be set with a certificate authority")
    if cluster.proxy_url and not cluster.proxy_url.startswith(("http://", "https://", "socks5://")):
        raise ConfigError(f"{where}.proxy-url: {shown(cluster.proxy_url)} is not of http, https or socks5")
    authority_file = "" if cluster.certificate_authority_data else cluster.certificate_authority
    return msgspec.structs.replace(cluster, certificate_authority=_absolute(authority_file, path))


def _checked_user(user: User, path: Path, where: str) -> User:
    """`user` with absolute paths. Raises ConfigError for what can't be done here."""
    if user.auth_provider is not None:
        raise ConfigError(f"{where}.auth-provider: not supported; Kubernetes has removed it for exec")
    if user.impersonate:
        raise ConfigError(f"{where}.as: impersonation is not supported")
    certificate = user.client_certificate or user.client_certificate_data
    key = user.client_key or user.client_key_data
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise ConfigError(f"{where}.{missing}: a certificate and its key go together")
    if user.exec is not None:
        _check_exec(user.exec, f"{where}.exec", path)
    return msgspec.structs.replace(
        user,
        client_certificate=_absolute("" if user.client_certificate_data else user.client_certificate, path),
        client_key=_absolute("" if user.client_key_data else user.client_key, path),
        token_file=_absolute(user.token_file, path),
    )


_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


def _check_exec(plugin: Exec, where: str, path: Path) -> None:
    if plugin.api_version not in _EXEC_VERSIONS:
        raise ConfigError(
            f"{where}.apiVersion: {shown(plugin.api_version)} is not one of {', '.join(_EXEC_VERSIONS)}"
        )
    if plugin.interactive_mode == "Always":
        raise ConfigError(f"{where}.interactiveMode: Always: there is no terminal to ask at")
    if not plugin.command:
        raise ConfigError(f"{where}.command: this field is required")
    if "/" in plugin.command:
        plugin.command = _absolute(plugin.command, path)


def _absolute(name: str, path: Path) -> str:
    """`name` beside the file `path`, unless it is absolute or empty."""
    return str(path.parent / name) if name else ""


def _in_cluster(account: Path, environ: Mapping[str, str]) -> Login:
    host, port = environ.get(_HOST, ""), environ.get(_PORT, "")
    if not host or not port:
        raise ConfigError(f"{account} is there, but ${_HOST} and ${_PORT} aren't set: is this a pod?")
    for name in ("token", "ca.crt"):
        if not (account / name).is_file():
            raise ConfigError(f"{account / name}: no such file")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Login(
        Cluster(server=server, certificate_authority=str(account / "ca.crt")),
        User(token_file=str(account / "token")),
        (),
        "the service account",
        "the service account",
    )
