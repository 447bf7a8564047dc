"""Files without a Service, and paths that are no files: an id, a file name, the bytes or what makes it, and
what the message must hold.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

__all__ = ["EMPTY", "FILES", "MISSPELT"]

Cases = list[tuple[str, str, bytes | Callable[[Path], None], tuple[str, ...]]]

INGRESS = b"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: front}\n"
SLICE = b"""\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.1]}]
"""
FOREIGN = b"apiVersion: serving.example.org/v1\nkind: service\nmetadata: {name: web}\n"


def _folder(**files: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            (path / f"{name}.yaml").write_bytes(content)

    return make


def _folder_with_a_dangling_link(path: Path) -> None:
    _folder(a=SLICE)(path)
    (path / "web.yaml").symlink_to("gone.yaml")


def _folder_with_a_fifo(path: Path) -> None:
    _folder(a=SLICE)(path)
    os.mkfifo(path / "web.yaml")


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _socket(path: Path) -> None:
    """A socket in the file system, under a short name: its address may have 107 bytes, a test's folder has
    more.
    """
    here = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


_NONE = "the input has no Service"

EMPTY: Cases = [
    ("empty-file", "input.yaml", b"", (_NONE, "read ", "input.yaml")),
    ("empty-comments", "input.yaml", b"# web\n---\n# nothing\n", (_NONE, "input.yaml")),
    ("empty-documents", "input.yaml", b"---\n---\n...\n---\n", (_NONE,)),
    ("empty-null", "input.yaml", b"null\n", (_NONE,)),
    ("empty-list", "input.json", b'{"apiVersion": "v1", "kind": "List", "items": []}', (_NONE, "input.json")),
    ("empty-list-null", "input.yaml", b"apiVersion: v1\nkind: List\nitems:\n", (_NONE,)),
    ("empty-service-list", "input.yaml", b"apiVersion: v1\nkind: ServiceList\nitems: []\n", (_NONE,)),
    ("empty-only-an-ingress", "input.yaml", INGRESS, (_NONE, "skipped 1 networking.k8s.io/v1/Ingress")),
    ("empty-only-endpoints", "input.yaml", SLICE, (_NONE,)),
    ("empty-only-foreign", "input.yaml", FOREIGN, (_NONE, "skipped 1 serving.example.org/v1/service")),
    (
        "empty-folder-of-others",
        "manifests",
        _folder(a=INGRESS, b=b"", c=SLICE),
        (_NONE, "a.yaml", "b.yaml", "Ingress"),
    ),
    ("empty-null-device", "input.yaml", _link("/dev/null"), (_NONE,)),
]
"""Sound inputs that would empty a node."""


def _kind(kind: str, version: str) -> bytes:
    return (
        f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web, namespace: demo}}\nitems: []\n".encode()
    )


MISSPELT: Cases = [
    (
        f"misspelt-{kind}-{version.replace('/', '-')}",
        "input.yaml",
        _kind(kind, version),
        (f'kind "{kind}" of {version}: did you mean {meant}?',),
    )
    for kind, version, meant in (
        ("service", "v1", "Service"),
        ("services", "v1", "Service"),
        ("Services", "v1", "Service"),
        ("SERVICE", "v1", "Service"),
        ("Sevice", "v1", "Service"),
        ("Endpoint", "v1", "Endpoints"),
        ("endpoints", "v1", "Endpoints"),
        ("pod", "v1", "Pod"),
        ("nodes", "v1", "Node"),
        ("namespace", "v1", "Namespace"),
        ("list", "v1", "List"),
        ("Servicelist", "v1", "ServiceList"),
        ("endpointslice", "discovery.k8s.io/v1", "EndpointSlice"),
        ("EndpointSlices", "discovery.k8s.io/v1beta1", "EndpointSlice"),
        ("endpointSlice", "v1", "EndpointSlice of discovery.k8s.io/v1"),
        ("deployment", "apps/v1", "Deployment"),
        ("servicecidrs", "networking.k8s.io/v1", "ServiceCIDR"),
    )
]  # fmt: skip
"""Kinds of Kubernetes' own groups as no API server knows them."""

FILES: Cases = [
    ("fifo", "input.yaml", os.mkfifo, ("input.yaml", "a FIFO that nobody writes to")),
    ("socket", "input.yaml", _socket, ("input.yaml", "a socket")),
    ("endless-device", "input.yaml", _link("/dev/zero"), ("input.yaml", "a device")),
    ("random-device", "input.yaml", _link("/dev/urandom"), ("a device",)),
    ("kernel-log", "input.yaml", _link("/proc/kmsg"), ("a file of /proc",)),
    ("kernel-log-device", "input.yaml", _link("/dev/kmsg"), ("a device",)),
    ("folder-with-a-fifo", "manifests", _folder_with_a_fifo, ("web.yaml", "a FIFO that nobody writes to")),
    ("folder-with-a-dangling-link", "manifests", _folder_with_a_dangling_link, ("web.yaml", "No such file")),
    ("two-million-documents", "input.yaml", b"---\n" * 2_000_000, ("input.yaml", "100,000 empty documents")),
]
"""What has no end, or none that comes by itself."""
