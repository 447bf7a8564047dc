"""Namespaces: emptied when they are deleted, and with the cluster's certificate while they live.

pkg/controller/namespace and pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..client import Client, Key, Obj
from .kinds import NAMESPACED
from .owners import namespace_of
from .pods import is_terminating
from .writes import Create, Delete, Finalize, Update, Write

__all__ = ["Namespaces", "emptied", "with_certificate"]

_CERTIFICATE = "kube-root-ca.crt"
_NOTE = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such "
    "as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
    "distributions of Kubernetes clusters."
)


class Namespaces:
    name = "namespace-controller"
    kinds = ("Namespace", *NAMESPACED)

    def __init__(self, client: Client, certificate: str) -> None:
        self._client, self._certificate = client, certificate

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        obj: Obj = new or old or {}
        if kind == "Namespace":
            return [("", obj["metadata"]["name"])] if new is not None else []
        name = obj["metadata"]["namespace"]
        if kind == "ConfigMap" and obj["metadata"]["name"] == _CERTIFICATE:
            return [("", name)]
        namespace = self._client.get("Namespace", "", name) if new is None else None
        return [("", name)] if namespace is not None and is_terminating(namespace) else []

    def decide(self, key: Key) -> list[Write]:
        namespace = self._client.get("Namespace", *key)
        if namespace is None:
            return []
        name = key[1]
        if is_terminating(namespace):
            contents = [self._client.find(kind, namespace_of, name) for kind in NAMESPACED]
            return emptied(name, [obj for found in contents for obj in found])
        if not self._certificate:
            return []
        return with_certificate(name, self._certificate, self._client.get("ConfigMap", name, _CERTIFICATE))


def emptied(name: str, contents: list[Obj]) -> list[Write]:
    """The deletion of what is in the Namespace, and in the end of itself."""
    if not contents:
        return [Finalize(name)]
    return [Delete(each, propagation="Background") for each in contents if not is_terminating(each)]


def with_certificate(namespace: str, certificate: str, existing: Obj | None) -> list[Write]:
    """The ConfigMap that says by which certificate the API server is known."""
    data = {"ca.crt": certificate}
    if existing is not None:
        return [] if existing.get("data") == data else [Update({**existing, "data": data})]
    meta = {"name": _CERTIFICATE, "namespace": namespace, "annotations": {"kubernetes.io/description": _NOTE}}
    return [Create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})]
