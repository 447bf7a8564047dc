"""The documents of a configuration file, those inside a ConfigMap too, and the struct that decodes each.

A file is one that kube-proxy or kubeadm takes, kcompile's own, or what ``kubectl -n kube-system get configmap
kube-proxy -o yaml`` prints, as an object or in a List.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .kubeproxy import ClusterConfiguration, CompilerConfiguration, KubeProxyConfiguration
from .reader import check_text
from .text import Wrong, shown
from .yaml_reader import Duplicate, yaml_documents

__all__ = ["Document", "documents"]

Form = type[KubeProxyConfiguration] | type[CompilerConfiguration] | type[ClusterConfiguration]

_KUBEADM = "kubeadm.k8s.io/"
# kind: the apiVersion that it must have, or (after "/") begin with, and what it is read as; None: nothing
# here is for kcompile
_KINDS: dict[str, tuple[str, Form | None]] = {
    "KubeProxyConfiguration": ("kubeproxy.config.k8s.io/v1alpha1", KubeProxyConfiguration),
    "CompilerConfiguration": ("kcompile.dev/v1alpha1", CompilerConfiguration),
    "ClusterConfiguration": (_KUBEADM, ClusterConfiguration),
    "InitConfiguration": (_KUBEADM, None),
    "JoinConfiguration": (_KUBEADM, None),
    "ResetConfiguration": (_KUBEADM, None),
    "UpgradeConfiguration": (_KUBEADM, None),
    "KubeletConfiguration": ("kubelet.config.k8s.io/", None),
}
_CONFIG_KEY = "config.conf"  # in the ConfigMap kube-proxy, where kubeadm made it
_LISTS = ("List", "ConfigMapList")
_HOLDS_CONFIGURATION = re.compile(
    r"""(?m)^["']?kind["']?: *["']?(?:KubeProxy|Cluster)Configuration["']?\s*$"""
)


class Document(NamedTuple):
    """`where` it is in the file, for messages; what to read it as, its value, and the keys that occur twice
    in it, of which the later one counts.
    """

    where: str
    form: Form
    value: dict[str, Any]
    duplicates: tuple[Duplicate, ...] = ()


class _Piece(NamedTuple):
    """A document as it stands in the file or in a ConfigMap of it."""

    where: str
    value: dict[str, Any]
    duplicates: tuple[Duplicate, ...] = ()


def documents(data: bytes) -> Iterator[Document]:
    """The documents of a file that are configuration.

    Raises Wrong, with the place in `field`, for one that isn't, and for none at all in a file that isn't
    empty.
    """
    passed: list[str] = []  # kinds that have nothing for kcompile
    found = False
    for piece in _unpacked(data):
        document = _classified(piece)
        if document is None:
            passed.append(str(piece.value.get("kind")))
        else:
            found = True
            yield document
    if passed and not found:
        kinds = ", ".join(dict.fromkeys(map(shown, passed)))
        raise Wrong(f"nothing in it configures a dataplane: it holds {kinds}", field="kind")


def _classified(piece: _Piece) -> Document | None:
    """How to read `piece`; None for a document that is skipped."""
    where, value, duplicates = piece
    kind, version = value.get("kind", "CompilerConfiguration"), value.get("apiVersion")
    if not isinstance(kind, str) or kind not in _KINDS:
        known = ", ".join(name for name, (_, form) in _KINDS.items() if form)
        raise _wrong(where, "kind", f"{shown(kind)} is not one of {known}, or a ConfigMap that holds one")
    wanted, form = _KINDS[kind]
    if version is None and "kind" not in value:
        return Document(where, CompilerConfiguration, value, duplicates)
    fits = isinstance(version, str) and (
        version.startswith(wanted) if wanted.endswith("/") else version == wanted
    )
    if not fits:
        raise _wrong(
            where, "apiVersion", f"{shown(version)} is not {wanted}{'...' if wanted.endswith('/') else ''}"
        )
    return Document(where, form, value, duplicates) if form else None


def _unpacked(data: bytes) -> Iterator[_Piece]:
    """Each document; a ConfigMap is replaced by the documents in it."""
    duplicates: list[Duplicate] = []
    for number, document in yaml_documents(data, duplicates):
        where = f"document {number}"
        twice, duplicates[:] = tuple(duplicates), []
        if document is None:
            continue
        if not isinstance(document, dict):
            raise _wrong(where, "", "a configuration must be a mapping")
        kind = document.get("kind")
        if twice and (kind == "ConfigMap" or kind in _LISTS):
            raise _wrong(where, twice[0].field, twice[0].message)
        if kind == "ConfigMap":
            yield from _configurations(document, where, required=True)
        elif kind in _LISTS:
            yield from _from_list(document, where)
        else:
            yield _Piece(where, document, twice)


def _from_list(document: dict[str, Any], where: str) -> Iterator[_Piece]:
    """The documents in the ConfigMaps of a List; other objects are skipped."""
    items = document.get("items")
    implied = "ConfigMap" if document["kind"] == "ConfigMapList" else None
    found = False
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get("kind", implied) == "ConfigMap":
            for one in _configurations(item, f"{where}: items[{index}]", required=False):
                found = True
                yield one
    if not found:
        raise _wrong(where, "items", f"no ConfigMap with data[{shown(_CONFIG_KEY)}] among them")


def _configurations(configmap: dict[str, Any], where: str, *, required: bool) -> Iterator[_Piece]:
    """The documents in the values of a ConfigMap: in config.conf, and in others that say that they are
    configuration.
    """
    data = configmap.get("data")
    texts = data if isinstance(data, dict) else {}
    found = False
    for key, text in texts.items():
        if isinstance(text, str) and (key == _CONFIG_KEY or _HOLDS_CONFIGURATION.search(text)):
            found = True
            yield from _embedded(text, f"{where}: data[{shown(key)}]")
    if required and not found:
        raise _wrong(
            where, "kind", f"a ConfigMap without data[{shown(_CONFIG_KEY)}], which that of kube-proxy has"
        )


def _embedded(text: str, where: str) -> Iterator[_Piece]:
    duplicates: list[Duplicate] = []
    try:
        for number, document in yaml_documents(check_text(text.encode(errors="replace")), duplicates):
            twice, duplicates[:] = tuple(duplicates), []
            if document is None:
                continue
            place = f"{where}: document {number}" if number > 1 else where
            if not isinstance(document, dict):
                raise _wrong(place, "", "a configuration must be a mapping")
            yield _Piece(place, document, twice)
    except Wrong as error:
        if error.document:  # of the text; the file's own number is in `where`
            raise _wrong(where, error.field, error.message) from None
        raise


def _wrong(where: str, field: str, message: str) -> Wrong:
    return Wrong(message, field=f"{where}: {field}" if field else where)
