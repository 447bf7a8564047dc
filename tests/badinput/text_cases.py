"""Files that aren't manifests at all: an id, a file name, the bytes or what makes the file, and what the
message must hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["TEXTS"]

HEAD = b"apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: demo}\n"


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200 << 20)


def _empty_folder(path: Path) -> None:
    path.mkdir()
    (path / "README.md").write_text("no manifest\n")


def _folder_with_one_bad(path: Path) -> None:
    path.mkdir()
    (path / "a.yaml").write_bytes(HEAD + b"spec: {ports: [{port: 80}]}\n")
    (path / "b.json").write_bytes(
        b'{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}, "spec": {"ports": []}}'
    )


def _only_subfolders(path: Path) -> None:
    (path / "base").mkdir(parents=True)
    (path / "base" / "web.yaml").write_bytes(HEAD + b"spec: {ports: [{port: 80}]}\n")


def _bomb() -> bytes:
    """A billion values out of ten lines (the "billion laughs")."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    return "\n".join(lines).encode()


def _merge_bomb() -> bytes:
    lines = ["a: &a {" + ", ".join(f"k{i}: 0" for i in range(1000)) + "}"]
    lines += [f"b{i}: {{<<: *a}}" for i in range(2000)]
    return "\n".join(lines).encode()


TEXTS: list[tuple[str, str, bytes | Callable[[Path], None], tuple[str, ...]]] = [
    ("missing-file", "nowhere.yaml", lambda _: None, ("nowhere.yaml", "No such file")),
    ("empty-folder", "manifests", _empty_folder, ("manifests", "no .yaml, .yml or .json")),
    (
        "folder-with-a-bad-file",
        "manifests",
        _folder_with_one_bad,
        ("b.json", "Service default/api", "spec.ports"),
    ),
    ("huge-file", "huge.yaml", _sparse, ("huge.yaml", "209,715,200", "134,217,728")),
    ("folder-of-folders", "manifests", _only_subfolders, ("manifests", "no .yaml, .yml or .json", "-R")),
    ("binary", "input.yaml", b"\x7fELF\x02\x01\x01\0\0\0\0", ("not a text file", "byte 7")),
    ("nul-inside", "input.yaml", HEAD + b"spec: {ports: [{port: 80, name: 'a\0b'}]}\n", ("NUL", "byte 102")),
    ("bad-utf8", "input.yaml", HEAD + b"spec: {externalName: \xff\xfe}\n", ("UTF-8", "byte")),
    ("utf16", "input.yaml", "apiVersion: v1\n".encode("utf-16"), ("UTF-16",)),
    ("control-character", "input.yaml", b"apiVersion: v1\x07\n", ("control characters",)),
    ("tabs", "input.yaml", b"apiVersion: v1\nmetadata:\n\tname: web\n", ("line 3, column 1",)),
    (
        "truncated-yaml-quote",
        "input.yaml",
        HEAD + b'spec:\n  ports:\n  - port: 80\n    name: "htt',
        ("unexpected end",),
    ),
    (
        "truncated-yaml-flow",
        "input.yaml",
        HEAD + b"spec: {ports: [{port: 80",
        ("line 5", "did not find expected"),
    ),
    (
        "truncated-yaml-field",
        "input.yaml",
        HEAD + b"spec:\n  ports:\n  - na",
        ("Service demo/web", "spec.ports[0]", "mapping"),
    ),
    (
        "truncated-json",
        "input.json",
        b'{"apiVersion": "v1", "kind": "Service", "metadata": {"na',
        ("truncated",),
    ),
    (
        "truncated-json-stream",
        "input.json",
        b'{"apiVersion": "v1", "kind": "X"}\n{"apiVersion": "v1"',
        ("document 2", "truncated"),
    ),
    ("json-comma", "input.json", b'{"apiVersion": "v1",\n "kind": "X",\n,}', ("line 3, column 1",)),
    (
        "flow-yaml-broken",
        "input.yaml",
        b"{apiVersion: v1, kind: Service, metadata: {name: web}\n",
        ("bad YAML at line 2",),
    ),
    (
        "json-then-broken-yaml",
        "input.json",
        b'{"apiVersion": "v1", "kind": "X"}\n{a: b: c}',
        ("document 2", "line 2, column 6"),
    ),
    (
        "helm-template",
        "input.yaml",
        b"apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}\nspec:\n  ports: []\n",
        ("unrendered template", "{{ .Release.Name }} in line 4", "helm template"),
    ),
    (
        "helm-template-if",
        "input.yaml",
        b"{{- if .Values.enabled }}\napiVersion: v1\nkind: Service\n{{- end }}\n",
        ("unrendered template", "{{- if .Values.enabled }} in line 1"),
    ),
    (
        "helm-template-inside",
        "input.yaml",
        HEAD
        + b"spec:\n  ports:\n  - port: 80\n  {{- with .Values.x }}\n  x:\n    {{- toYaml . | nindent 4 }}\n",
        ("unrendered template", "in line 7"),
    ),
    (
        "jinja-template",
        "input.yaml",
        b"{% for s in services %}\napiVersion: v1\n{% endfor %}\n",
        ("unrendered template", "{% for"),
    ),
    (
        "json-with-rubbish",
        "input.json",
        b'{"apiVersion": "v1", "kind": "X"} rubbish',
        ("document 2", "bad JSON"),
    ),
    ("json-array", "input.json", b"[]", ("mapping",)),
    (
        "json-lone-surrogate",
        "input.json",
        b'{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "\\ud800"}}',
        ("bad JSON",),
    ),
    (
        "json-thousands-of-digits",
        "input.json",
        b'{"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": ' + b"9" * 9000 + b"}]}}",
        ("port",),
    ),
    ("json-deep", "input.json", b'{"a":' * 500_000, ("nested too deep",)),
    ("json-deep-arrays", "input.json", b"[" * 1_000_000, ("nested too deep",)),
    (
        "json-deep-unread-field",
        "input.json",
        b'{"apiVersion": "v1", "kind": "Service", "x": ' + b"[" * 100_000,
        ("nested too deep",),
    ),
    (
        "json-lists-in-lists",
        "input.json",
        b'{"apiVersion": "v1", "kind": "List", "items": [' * 20 + b"]}" * 20,
        ("Lists nested",),
    ),
    ("yaml-deep-flow", "input.yaml", b"a: " + b"[" * 500_000, ("nested more than 200",)),
    ("yaml-deep-mappings", "input.yaml", b"a: " + b"{a: " * 100_000, ("nested more than 200",)),
    ("yaml-deep-dashes", "input.yaml", b"- " * 500_000 + b"x", ("nested more than 200",)),
    ("yaml-deep-question-marks", "input.yaml", b"? " * 100_000 + b"x", ("key",)),
    ("yaml-bomb", "input.yaml", _bomb(), ("aliases", "1,000,000")),
    ("yaml-merge-bomb", "input.yaml", _merge_bomb(), ("aliases", "1,000,000")),
    ("yaml-recursion", "input.yaml", b"a: &a [*a]\n", ("line 1, column 8", '"a"')),
    ("yaml-recursive-merge", "input.yaml", b"a: &a\n  <<: *a\n", ("line 2", '"a"')),
    ("yaml-unknown-alias", "input.yaml", b"a: *b\n", ('"b"', "no anchor")),
    (
        "yaml-python-tag",
        "input.yaml",
        b"a: !!python/object/apply:os.system ['reboot']\n",
        ("tag", "python/object"),
    ),
    ("yaml-python-name", "input.yaml", b"a: !!python/name:os.system\n", ("tag", "python/name")),
    ("yaml-own-tag", "input.yaml", b"a: !secret b\n", ("tag", "!secret")),
    (
        "yaml-same-key-twice",
        "input.yaml",
        HEAD + b"spec:\n  ports: []\n  ports: [{port: 80}]\n",
        ("Service demo/web", "spec.ports: duplicate key", "line 6"),
    ),
    (
        "yaml-same-key-twice-in-a-list",
        "input.yaml",
        (
            b"apiVersion: v1\nkind: List\nitems:\n"
            b"- {apiVersion: v1, kind: Service, metadata: {name: web, name: api}}\n"
        ),
        ("Service api", "metadata.name: duplicate key", "line 4"),
    ),
    (
        "yaml-same-items-twice",
        "input.yaml",
        b"apiVersion: v1\nkind: List\nitems: []\nitems: []\n",
        ("items: duplicate key",),
    ),
    (
        "json-same-key-twice",
        "input.json",
        (
            b'{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, '
            b'"spec": {"ports": [], "ports": [{"port": 80}]}}'
        ),
        ("Service web", "spec.ports: duplicate key"),
    ),
    (
        "json-same-label-twice",
        "input.json",
        b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","labels":{"a":"b","a":"b"}},"spec":{"ports":[{"port":80}]}}',
        ("Service web", "metadata.labels.a: duplicate key"),
    ),
    (
        "json-same-kind-twice",
        "input.json",
        b'{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"ports":[{"port":80}]},"kind":"Secret"}',
        ("web", "kind: duplicate key"),
    ),
    (
        "json-same-items-twice",
        "input.json",
        b'{"apiVersion":"v1","kind":"List","items":[],"items":[]}',
        ("items: duplicate key",),
    ),
    ("yaml-key-is-a-list", "input.yaml", b"[a, b]: c\n", ("key",)),
    ("yaml-two-colons", "input.yaml", b"a: b: c\n", ("line 1, column 5",)),
    ("yaml-just-text", "input.yaml", b"hello\n", ("mapping",)),
    ("yaml-just-a-list", "input.yaml", b"- apiVersion: v1\n  kind: Service\n", ("mapping",)),
    (
        "yaml-second-document",
        "input.yaml",
        b"---\n---\n" + HEAD + b"spec: {ports: [{port: x}]}\n",
        ("document 2", "Service demo/web", "port"),
    ),
    (
        "yaml-norway",
        "input.yaml",
        HEAD + b"spec: {ports: [{port: 80}], selector: {country: no}}\n",
        ("spec.selector.country", "false"),
    ),
    (
        "yaml-octal-port",
        "input.yaml",
        HEAD + b"spec: {ports: [{port: 0o200000}]}\n",
        ("spec.ports[0].port", "65536"),
    ),
    ("yaml-no-colon", "input.yaml", b"apiVersion: v1\nkind Service\nmetadata: {}\n", ("bad YAML",)),
]
