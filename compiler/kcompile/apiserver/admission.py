"""What happens to an object before it is stored: defaults, checks and allocation, by the rules of `spec`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, UNSET

from ..errors import SpecError
from ..spec.check_endpoints import check_endpoints, check_slice
from ..spec.check_others import check_namespace, check_node, check_pod, check_service_cidr
from ..spec.check_service import check_service
from ..spec.decode import typed, without_nulls
from ..spec.defaults import default_endpoints, default_pod, default_service, default_slice
from ..spec.names import generated_name
from ..spec.objects import Endpoints, EndpointSlice, Namespace, Node, Object, Pod, Service, ServiceCIDR
from ..spec.text import Wrong
from .allocation import Allocation, keep_allocated
from .collection import Collection
from .metadata import SERVERS_OWN
from .resources import Resource
from .status import Cause, StatusError, bad_request, invalid

__all__ = ["Admission"]

_FIRST_STATUS: dict[str, dict[str, Any] | None] = {
    "Namespace": {"phase": "Active"},
    "Service": {"loadBalancer": {}},
    "Pod": {"phase": "Pending"},
    "ServiceCIDR": None,
}
"""The status of a new object, for the kinds whose client can't set it."""
_KEPT = {
    "Namespace": ("spec", "status"),
    **dict.fromkeys(("Service", "Pod", "Node", "ServiceCIDR"), ("status",)),
}
"""What an update of an object leaves as it is."""


class _Rules(NamedTuple):
    cls: type[Object]
    check: Callable[[Any], None]
    default: Callable[[Any], None] | None = None


_RULES = {
    "Service": _Rules(Service, check_service, default_service),
    "EndpointSlice": _Rules(EndpointSlice, check_slice, default_slice),
    "Endpoints": _Rules(Endpoints, check_endpoints, default_endpoints),
    "Pod": _Rules(Pod, check_pod, default_pod),
    "Node": _Rules(Node, check_node),
    "Namespace": _Rules(Namespace, check_namespace),
    "ServiceCIDR": _Rules(ServiceCIDR, check_service_cidr),
}


class Admission:
    """Makes of a client's object what the store keeps."""

    def __init__(self, collections: Mapping[Resource, Collection]) -> None:
        by_kind = {resource.kind: collection for resource, collection in collections.items()}
        self._allocation = Allocation(by_kind["Service"], by_kind["ServiceCIDR"])
        self._numbers = itertools.count()

    def created(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """`obj`, a new object, with defaults.

        :raises StatusError: 400 where it can't be decoded, 422 where it is wrong
        """
        given = _given(resource, obj)
        meta = given["metadata"]
        if not meta.get("name") and isinstance(base := meta.get("generateName"), str) and base:
            meta["name"] = generated_name(resource.kind, base, next(self._numbers))
        if resource.kind in _FIRST_STATUS:
            given.pop("status", None)
        made = self._checked(resource, given, _decoded(resource, given))
        if (status := _FIRST_STATUS.get(resource.kind)) is not None:
            made["status"] = dict(status)
        if resource.kind == "Namespace":
            made["spec"] = {"finalizers": ["kubernetes"]}
        return made

    def updated(self, resource: Resource, obj: Mapping[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        """`obj`, which takes the place of `old`, with defaults and with what `old` was allocated.

        :raises StatusError: 400, 422
        """
        given = _given(resource, obj)
        if "deletionTimestamp" in old["metadata"]:
            given["metadata"]["deletionTimestamp"] = old["metadata"]["deletionTimestamp"]
        kept = _KEPT.get(resource.kind, ())
        for part in kept:
            given.pop(part, None)
        item = _decoded(resource, given)
        if resource.kind == "Service":
            keep_allocated(given["spec"], old.get("spec") or {})
            item = _decoded(resource, given)
        made = self._checked(resource, given, item)
        _check_lasting(resource, made, old)
        return made | {part: old[part] for part in kept if part in old}

    def _checked(self, resource: Resource, given: dict[str, Any], item: Object) -> dict[str, Any]:
        """`given` with the defaults of `item`, which was decoded from it, once all checks have passed."""
        rules = _RULES[resource.kind]
        try:
            if rules.default is not None:
                rules.default(item)
            rules.check(item)
            if isinstance(item, Service):
                self._allocation.fill(item)
        except SpecError as error:
            raise _refused(resource, item.metadata.name, error.field, error.message) from None
        if resource.kind == "Namespace":
            own = {"kubernetes.io/metadata.name": item.metadata.name}
            given["metadata"]["labels"] = given["metadata"].get("labels", {}) | own
        return {**_filled(item, given), "kind": resource.kind, "apiVersion": resource.api_version}


def _given(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `obj` without nulls and without the metadata that clients can't set."""
    given: dict[str, Any] = without_nulls(dict(obj))
    meta = given.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise bad_request(f'{resource.kind} in version "{resource.version}": metadata must be a mapping')
    for own in SERVERS_OWN:
        meta.pop(own, None)
    if resource.namespaced:
        meta["namespace"] = meta.get("namespace") or "default"
    else:
        meta.pop("namespace", None)
    return given


def _decoded(resource: Resource, given: dict[str, Any]) -> Object:
    try:
        return typed(given, _RULES[resource.kind].cls)
    except Wrong as wrong:
        where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise bad_request(f"{where}: {wrong.field}: {wrong.message}") from None


def _refused(resource: Resource, name: str, field: str, message: str) -> StatusError:
    reason = "FieldValueRequired" if message.endswith("is required") else "FieldValueInvalid"
    return invalid(resource.kind, name, [Cause(reason, message, field)], resource.group)


def _check_lasting(resource: Resource, new: dict[str, Any], old: dict[str, Any]) -> None:
    """Refuse the change of what may not change."""
    name = new["metadata"]["name"]
    if resource.kind == "EndpointSlice" and new["addressType"] != old.get("addressType"):
        raise _refused(resource, name, "addressType", "field is immutable")
    if resource.kind == "Service":
        was, now = ((obj.get("spec") or {}).get("clusterIPs") or [] for obj in (old, new))
        if was and now and was[0] != now[0]:
            raise _refused(resource, name, "spec.clusterIPs[0]", "may not change once set")


# --- a typed object back over the plain values that it was read from ---


class _Field(NamedTuple):
    name: str
    key: str
    plain: bool  # its zero value is the same as none at all


@cache
def _fields(cls: type[msgspec.Struct]) -> list[_Field]:
    return [
        _Field(field.name, field.encode_name, field.default not in (None, UNSET, NODEFAULT))
        for field in msgspec.structs.fields(cls)
        if field.encode_name not in ("metadata", " origin")
    ]


def _filled(item: Any, given: Any) -> Any:
    """`given` with the values of `item`, which was made from it; what `item` has no field for stays."""
    if isinstance(item, list):
        before = given if isinstance(given, list) and len(given) == len(item) else [None] * len(item)
        return [_filled(each, old) for each, old in zip(item, before, strict=True)]
    if not isinstance(item, msgspec.Struct):
        return item
    out = dict(given) if isinstance(given, dict) else {}
    for field in _fields(type(item)):
        value = getattr(item, field.name)
        if value is None or value is UNSET or (field.plain and not value):
            out.pop(field.key, None)
        else:
            out[field.key] = _filled(value, out.get(field.key))
    return out
