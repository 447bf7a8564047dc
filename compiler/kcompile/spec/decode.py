"""One manifest, as JSON bytes or as plain values, to typed objects; a List to its items.

The API server's own strictness holds: ``port: "80"`` is an error, an unset field may be null.
JSON goes from bytes to structs without a stop in between: msgspec.Raw items, a peek at the kind, then the typed decode.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType, ValidationError

from ..errors import SpecError
from .inventory import Inventory, Skipped
from .kinds import meant_kind
from .objects import Deployment, Endpoints, EndpointSlice, Namespace, Node, Object, Origin, Pod, Service, ServiceCIDR
from .text import Wrong, explain, printable, problem, shown
from .workloads import workload_of

__all__ = ["Decoder", "without_nulls"]

_MAX_LISTS = 8  # Lists inside Lists

# kind: (struct, the versions of it that are read, the Inventory's list)
_KINDS: dict[str, tuple[type[Object], tuple[str, ...], str]] = {
    "Service": (Service, ("v1",), "services"),
    "EndpointSlice": (EndpointSlice, ("discovery.k8s.io/v1",), "endpoint_slices"),
    "Endpoints": (Endpoints, ("v1",), "endpoints"),
    "Pod": (Pod, ("v1",), "pods"),
    "Node": (Node, ("v1",), "nodes"),
    "Deployment": (Deployment, ("apps/v1",), "deployments"),
    "Namespace": (Namespace, ("v1",), "namespaces"),
    "ServiceCIDR": (ServiceCIDR, ("networking.k8s.io/v1", "networking.k8s.io/v1beta1"), "service_cidrs"),
}
_Manifest = Raw | dict[str, Any]
_CLUSTER_SCOPED = (Node, Namespace, ServiceCIDR)


class _Head(msgspec.Struct, rename="camel"):
    """What says how to read the rest. `items` stays undecoded."""

    kind: str | None = None
    api_version: str | None = None
    items: Any = UNSET


class _RawHead(msgspec.Struct, rename="camel"):
    kind: str | None = None
    api_version: str | None = None
    items: Raw | UnsetType = UNSET


class _Name(msgspec.Struct):
    name: Any = None
    namespace: Any = None


class _Named(msgspec.Struct):
    metadata: _Name = msgspec.field(default_factory=_Name)


_head = msgspec.json.Decoder(_RawHead).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_typed = {cls: msgspec.json.Decoder(cls).decode for cls, _, _ in _KINDS.values()}


class Decoder:
    """Adds manifests to `inventory`; knows every object seen, so that none is defined twice."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._lists: dict[type[Object], list[Any]] = {cls: getattr(inventory, attribute) for cls, _, attribute in _KINDS.values()}
        self._seen: dict[tuple[type[Object], str, str], Object] = {}

    def add(self, manifest: _Manifest, origin: Origin, implied: tuple[str, str] = ("", ""), depth: int = 0, index: int = 0) -> None:
        """Decode `manifest` and keep it. Items of a List: `implied` kind and apiVersion they may leave out, `depth` and `index`."""
        try:
            head = _head(manifest) if isinstance(manifest, Raw) else msgspec.convert(manifest, _Head)
        except ValidationError as error:
            wrong = explain(error, _plain(manifest))
            if depth and not wrong.field:
                wrong.field = f"items[{index}]"
            raise self._error(manifest, origin, "", wrong) from None
        kind, version = head.kind or implied[0], head.api_version or implied[1]
        if not kind or not version:
            raise self._error(manifest, origin, kind or "", Wrong("this field is required", field="apiVersion" if kind else "kind"))
        known = _KINDS.get(kind)
        if known is None:
            if kind.endswith("List") and head.items is not UNSET:
                self._add_items(head.items, origin, kind.removesuffix("List"), version, depth)
            elif kind != "List":
                self._skip(manifest, origin, kind, version)
            return
        cls, versions, _ = known
        if version not in versions:
            wrong = Wrong(f"{shown(version)} is not a version of {kind} that is read here ({', '.join(versions)})", field="apiVersion")
            raise self._error(manifest, origin, kind, wrong)
        try:
            obj = _typed[cls](manifest) if isinstance(manifest, Raw) else msgspec.convert(manifest, cls)
        except ValidationError as error:
            obj = self._without_nulls(manifest, cls, origin, kind, error)
        obj.origin = origin
        self._keep(cls, obj)

    def _add_items(self, items: Any, origin: Origin, kind: str, version: str, depth: int) -> None:
        if depth == _MAX_LISTS:
            raise SpecError(f"Lists nested more than {_MAX_LISTS} deep", source=printable(origin.source), document=origin.document)
        implied = (kind, version) if kind else ("", "")
        if isinstance(items, Raw):
            try:
                items = _items(items)
            except ValidationError:
                items = _plain(items)
        if items is not None and not isinstance(items, list):
            raise self._error({}, origin, f"{kind}List", Wrong("must be a list", field="items"))
        for index, item in enumerate(items or ()):
            self.add(item, origin, implied, depth + 1, index)

    def _without_nulls(self, manifest: _Manifest, cls: type[Object], origin: Origin, kind: str, error: ValidationError) -> Object:
        """Decode again with the null fields left out, which is what null means to the API server; where that fails too, say why."""
        value = _plain(manifest)
        if "got `null`" in str(error):
            value = without_nulls(value)
            try:
                return msgspec.convert(value, cls)
            except ValidationError as second:
                error = second
        raise self._error(manifest, origin, kind, explain(error, value)) from None

    def _keep(self, cls: type[Object], obj: Object) -> None:
        meta = obj.metadata
        if not meta.name:
            raise problem(obj, "metadata.name", "a name is required")
        meta.namespace = "" if cls in _CLUSTER_SCOPED else meta.namespace or "default"
        key = cls, meta.namespace, meta.name
        first = self._seen.setdefault(key, obj)
        if first is obj:
            self._lists[cls].append(obj)
            return
        place, obj.origin = obj.origin, first.origin
        same, obj.origin = obj == first, place
        if not same:
            where = first.origin
            raise problem(obj, "", f"defined twice, and differently: first in {printable(where.source)}, document {where.document}")

    def _skip(self, manifest: _Manifest, origin: Origin, kind: str, version: str) -> None:
        if meant := meant_kind(kind, version):
            raise self._error(manifest, origin, "", Wrong(f"kind {shown(kind)} of {version}: did you mean {meant}?"))
        if workload := workload_of(manifest, version, kind):
            self.inventory.workloads.append(workload)
            return
        self.inventory.skipped.append(Skipped(origin, printable(f"{version}/{kind}"), _name_of(manifest)))

    def _error(self, manifest: _Manifest, origin: Origin, kind: str, wrong: Wrong) -> SpecError:
        name = _name_of(manifest)
        obj = f"{kind} {name}" if kind and name else kind or name
        return SpecError(wrong.message, source=printable(origin.source), document=origin.document, obj=printable(obj), field=wrong.field)


def _plain(manifest: _Manifest) -> Any:
    """The manifest as plain values, for a message; None where it can't be had (a number of thousands of digits)."""
    try:
        return msgspec.json.decode(manifest) if isinstance(manifest, Raw) else manifest
    except ValidationError:
        return None


def without_nulls(value: Any) -> Any:
    """`value` without the keys whose value is null: to Kubernetes these are unset."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _name_of(manifest: _Manifest) -> str:
    """``namespace/name`` as far as it is there, for messages."""
    try:
        named = msgspec.json.decode(manifest, type=_Named) if isinstance(manifest, Raw) else msgspec.convert(manifest, _Named)
    except ValidationError:
        return ""
    meta = named.metadata
    parts = [part for part in (meta.namespace, meta.name) if isinstance(part, str) and part]
    return printable("/".join(parts)) if isinstance(meta.name, str) else ""
