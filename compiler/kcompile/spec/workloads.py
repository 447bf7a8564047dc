"""Kinds that make Pods from a template: read for its labels alone, so that a warning can name them. Never an error."""

from __future__ import annotations

from typing import Any

import msgspec

from .inventory import Workload

__all__ = ["workload_of"]

_GROUPS = {
    "Deployment": ("apps", "extensions"),
    "StatefulSet": ("apps",),
    "DaemonSet": ("apps", "extensions"),
    "ReplicaSet": ("apps", "extensions"),
    "Job": ("batch",),
}


class _Meta(msgspec.Struct):
    name: str = ""
    namespace: str | None = None
    labels: dict[str, str] | None = None


class _Template(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _Spec(msgspec.Struct):
    template: _Template


class _Lending(msgspec.Struct):
    metadata: _Meta
    spec: _Spec


_from_json = msgspec.json.Decoder(_Lending).decode


def workload_of(manifest: msgspec.Raw | dict[str, Any], version: str, kind: str) -> Workload | None:
    """The labels that `manifest` gives its Pods; None where it is of another kind, or isn't written as the API wants it."""
    if version.partition("/")[0] not in _GROUPS.get(kind, ()):
        return None
    try:
        found = _from_json(manifest) if isinstance(manifest, msgspec.Raw) else msgspec.convert(manifest, _Lending)
    except msgspec.ValidationError:
        return None
    meta = found.metadata
    return Workload(kind, meta.namespace or "default", meta.name, found.spec.template.metadata.labels or {})
