"""Which kubeconfig is read, how several become one, and what a broken one is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompile.agent.api.connection import connect
from kcompile.agent.api.kubeconfig import Login, find_login
from kcompile.errors import ConfigError


def entry(section: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, section: fields}


def config(*, current: str = "x", user: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    given = {"server": "https://one:6443", **cluster}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [entry("cluster", "c", **given)],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            entry("context", "x", cluster="c", user="u", namespace="n"),
            entry("context", "y", cluster="c"),
        ],
        "current-context": current,
    }


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., Login]:
    """find_login() with these environment variables; $HOME and the service account are below tmp_path."""

    def find(kubeconfig: str | None = None, context: str | None = None, **environ: str) -> Login:
        given = {"HOME": str(tmp_path / "home"), **environ}
        return find_login(kubeconfig, context, environ=given, account=tmp_path / "account")

    return find


def write(path: Path, value: Any) -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def test_the_first_place_that_has_one_counts(tmp_path: Path, found: Callable[..., Login]):
    with pytest.raises(ConfigError, match="no kubeconfig: give --kubeconfig"):
        found()
    for name in ("token", "ca.crt"):
        write(tmp_path / "account" / name, "text")
    with pytest.raises(ConfigError, match="is this a pod"):
        found()
    pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert found(**pod).cluster.server == "https://[fd00::1]:443"
    assert found(**pod).watched == (tmp_path / "account" / "ca.crt",)
    with pytest.raises(ConfigError, match="a service account has no contexts"):
        found(context="x", **pod)
    (tmp_path / "account" / "token").unlink()
    with pytest.raises(ConfigError, match="token: no such file"):
        found(**pod)
    write(tmp_path / "home" / ".kube" / "config", config(server="https://home"))
    assert found(**pod).cluster.server == "https://home"
    named = write(tmp_path / "named", config(server="https://named"))
    assert found(KUBECONFIG=named).cluster.server == "https://named"
    given = write(tmp_path / "given", config(server="https://given"))
    assert found(given, KUBECONFIG=named).cluster.server == "https://given"
    with pytest.raises(ConfigError, match=r"\$KUBECONFIG: no such file: /no/where"):
        found(KUBECONFIG="/no/where")
    with pytest.raises(ConfigError, match="/no/where: No such file"):
        found("/no/where", KUBECONFIG=named)


def test_several_files_are_one_and_paths_are_beside_their_own(tmp_path: Path, found: Callable[..., Login]):
    users = {"users": [entry("user", "u", tokenFile="t", **{"client-certificate": "c", "client-key": "/k"})]}
    one = write(tmp_path / "a" / "users.yaml", "current-context:\n" + json.dumps(users)[1:-1] + "\n")
    two = write(
        tmp_path / "b" / "rest",
        config(user={"token": "not this"}, **{"certificate-authority": "ca"}),
    )
    three = write(tmp_path / "third", config(current="z", server="https://late"))
    login = found(KUBECONFIG=f"{one}:/no/where::{two}:{three}")
    assert login.cluster.server == "https://one:6443"
    assert login.cluster.certificate_authority == str(tmp_path / "b" / "ca")
    assert (login.user.token, login.user.token_file) == ("", str(tmp_path / "a" / "t"))
    assert (login.user.client_certificate, login.user.client_key) == (str(tmp_path / "a" / "c"), "/k")
    assert [str(path) for path in login.files] == [one, two, three]
    assert len(login.watched) == 6
    assert found(context="y", KUBECONFIG=f"{one}:{two}").user.token_file == ""


CONTEXT = {"contexts": [entry("context", "x", cluster="other", user="u")]}
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "get-token"}
BROKEN: list[tuple[Any, str]] = [
    ("a: [", "config: .*"),
    ("[]", "config: not a kubeconfig: it must hold one mapping"),
    ("", "current-context: not set; give --context"),
    ("a: 1\n---\nb: 1\n", "config: not a kubeconfig: it must hold one mapping"),
    ("a: \x00", "config: not a text file"),
    (config(current=""), "config: current-context: not set"),
    (config(current="nosuch"), 'config: current-context: there is no context "nosuch"'),
    ({**config(), **CONTEXT}, r'contexts\["x"\]\.context\.cluster: there is no cluster "other"'),
    ({**config(), "users": []}, r'contexts\["x"\]\.context\.user: there is no user "u"'),
    ({**config(), "clusters": {}}, "config: clusters: must be a list.*, got a mapping"),
    (config(server=5), r"config: clusters\[0\]\.cluster\.server: must be a string, got an integer \(5\)"),
    (config(server="one:6443"), r'clusters\["c"\]\.cluster\.server: "one:6443" is not a URL'),
    (config(**{"proxy-url": "ftp://a"}), r'cluster\.proxy-url: "ftp://a" is not of'),
    (
        config(**{"insecure-skip-tls-verify": True, "certificate-authority": "a"}),
        "insecure-skip-tls-verify: must not",
    ),
    (config(user={"auth-provider": {"name": "gcp"}}), r'users\["u"\]\.user\.auth-provider: not supported'),
    (config(user={"as": "root"}), r'users\["u"\]\.user\.as: impersonation is not supported'),
    (config(user={"client-certificate": "a"}), "client-key: a certificate and its key go together"),
    (config(user={"client-key-data": "a"}), "client-certificate: a certificate and its key go together"),
    (config(user={"exec": {**EXEC, "apiVersion": "v1"}}), r'exec\.apiVersion: "v1" is not one of'),
    (
        config(user={"exec": {**EXEC, "interactiveMode": "Always"}}),
        r"exec\.interactiveMode: Always: there is no",
    ),
    (config(user={"exec": {**EXEC, "command": ""}}), r"exec\.command: this field is required"),
    (config(user={"exec": {"apiVersion": "v1"}}), r"users\[0\]\.user\.exec\.command: this field is required"),
    (config(**{"certificate-authority": "nosuch"}), "certificate-authority: .*/nosuch: No such file"),
    (config(**{"certificate-authority-data": "%%"}), "certificate-authority-data: not base64"),
    (config(**{"certificate-authority-data": "aGVsbG8="}), "certificate-authority-data: "),
    (config(**{"proxy-url": "socks5://127.0.0.1"}), r'\["c"\]\.cluster\.proxy-url: '),
    (config(user={"client-certificate": "a", "client-key": "b"}), "client-certificate: .*/a: No such file"),
]


@pytest.mark.parametrize(("value", "says"), BROKEN, ids=[says[:40] for _, says in BROKEN])
def test_a_broken_one_names_file_and_field_in_a_line(tmp_path: Path, value: Any, says: str):
    path = write(tmp_path / "config", value)
    with pytest.raises(ConfigError, match=says) as caught:
        connect(path, environ={})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(str(tmp_path))
