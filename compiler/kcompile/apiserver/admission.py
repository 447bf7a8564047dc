"""What happens to an object before it is stored: defaults, checks and allocation, by the rules of `spec`."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, UNSET

from ..errors import AllocationError, SpecError
from ..spec.allocate import allocate
from ..spec.check_endpoints import check_endpoints, check_slice
from ..spec.check_others import check_namespace, check_node, check_pod, check_service_cidr
from ..spec.check_service import check_service
from ..spec.claims import Claims
from ..spec.decode import typed, without_nulls
from ..spec.defaults import default_endpoints, default_pod, default_service, default_slice
from ..spec.objects import Endpoints, EndpointSlice, Namespace, Node, Object, Pod, Service, ServiceCIDR
from ..spec.text import Wrong
from .collection import Collection
from .metadata import SERVERS_OWN
from .resources import Resource
from .status import Cause, StatusError, bad_request, invalid

__all__ = ["Admission"]

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # of apimachinery's rand: no vowels, so no words
_LONGEST_BASE = 58  # characters of a generateName that are kept
_FIRST_STATUS: dict[str, dict[str, Any] | None] = {
    "Namespace": {"phase": "Active"},
    "Service": {"loadBalancer": {}},
    "Pod": {"phase": "Pending"},
    "ServiceCIDR": None,
}
"""The status of a new object, for the kinds whose client can't set it."""
_WITH_STATUS = (*_FIRST_STATUS, "Node")


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
    """Makes of a client's object what the store keeps. Knows the addresses and ports that Services hold."""

    def __init__(self, collections: Mapping[Resource, Collection]) -> None:
        by_kind = {resource.kind: collection for resource, collection in collections.items()}
        self._services, self._cidrs = by_kind["Service"], by_kind["ServiceCIDR"]
        self._claims = Claims()
        self._held: dict[str, Service] = {}
        self._place = 0

    def created(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """`obj`, a new object, with defaults.

        :raises StatusError: 400 where it can't be decoded, 422 where it is wrong
        """
        given = _given(resource, obj)
        meta = given["metadata"]
        if not meta.get("name") and isinstance(base := meta.get("generateName"), str) and base:
            meta["name"] = base[:_LONGEST_BASE] + "".join(random.choices(_SUFFIX, k=5))
        if resource.kind in _FIRST_STATUS:
            given.pop("status", None)
        made = self._checked(resource, given, _decoded(resource, given))
        if (status := _FIRST_STATUS.get(resource.kind)) is not None:
            made["status"] = dict(status)
        if resource.kind == "Namespace":
            labels = meta.get("labels") or {}
            meta["labels"] = labels | {"kubernetes.io/metadata.name": meta["name"]}
            made["spec"] = {"finalizers": ["kubernetes"]}
        return made

    def updated(self, resource: Resource, obj: Mapping[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        """`obj`, which takes the place of `old`, with defaults and with what `old` was allocated.

        :raises StatusError: 400, 422
        """
        given = _given(resource, obj)
        if "deletionTimestamp" in old["metadata"]:
            given["metadata"]["deletionTimestamp"] = old["metadata"]["deletionTimestamp"]
        if resource.kind in _WITH_STATUS:
            given.pop("status", None)
        item = _decoded(resource, given)
        if resource.kind == "Service":
            _keep_allocated(given["spec"], old["spec"])
            item = _decoded(resource, given)
        made = self._checked(resource, given, item)
        _check_lasting(resource, made, old)
        if resource.kind in _WITH_STATUS and "status" in old:
            made["status"] = old["status"]
        return made

    def _checked(self, resource: Resource, given: dict[str, Any], item: Object) -> dict[str, Any]:
        """`given` with the defaults of `item`, which was decoded from it, once all checks have passed."""
        rules = _RULES[resource.kind]
        try:
            if rules.default is not None:
                rules.default(item)
            rules.check(item)
            if isinstance(item, Service):
                self._allocate(item)
        except SpecError as error:
            raise _refused(resource, item.metadata.name, error.field, error.message) from None
        return {**_filled(item, given), "kind": resource.kind, "apiVersion": resource.api_version}

    # --- allocation ---

    def _allocate(self, service: Service) -> None:
        """Give `service` the addresses and ports that it lacks, or raise AllocationError.

        The claims are as before then: what is stored in the end comes back as a change of the collection.
        """
        self._catch_up()
        old = self._held.get(f"{service.metadata.namespace}/{service.metadata.name}")
        if old is not None:
            self._claims.release(old)
        try:
            allocate([service], service_cidrs=self._service_cidrs(), claims=self._claims)
        finally:
            self._claims.release(service)
            if old is not None:
                self._take("", old)

    def _service_cidrs(self) -> list[str]:
        return [cidr for item in self._cidrs.sorted_now() for cidr in item.object()["spec"]["cidrs"]]

    def _catch_up(self) -> None:
        events = self._services.since(self._place)
        self._place = self._services.dropped + len(self._services.history)
        if events is None:
            self._claims, self._held = Claims(), {}
            for item in self._services.sorted_now():
                self._take(item.key, _service(item.object()))
            return
        for event in events:
            if event.before is not None and (old := self._held.pop(event.before.key, None)) is not None:
                self._claims.release(old)
            if event.now is not None:
                self._take(event.now.key, _service(event.now.object()))

    def _take(self, key: str, service: Service | None) -> None:
        """Note what a stored Service holds. Of two that were put with one address, the first holds it."""
        if service is None:
            return
        if key:
            self._held[key] = service
        with contextlib.suppress(AllocationError):
            self._claims.take_all(service)


def _service(obj: dict[str, Any]) -> Service | None:
    """A stored Service; None where it was put as what isn't one."""
    try:
        return typed(obj, Service)
    except Wrong:
        return None


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


def _keep_allocated(new: dict[str, Any], old: dict[str, Any]) -> None:
    """patchAllocatedValues (pkg/registry/core/service): what an update leaves out stays as it was."""
    if "ExternalName" not in (new.get("type"), old.get("type")):
        if not new.get("clusterIP") and old.get("clusterIP"):
            new["clusterIP"] = old["clusterIP"]
        if not new.get("clusterIPs") and new.get("clusterIP") == old.get("clusterIP"):
            new["clusterIPs"] = old.get("clusterIPs") or []
    if _has_node_ports(new) and _has_node_ports(old):
        before = {port.get("name", ""): port.get("nodePort") for port in old.get("ports") or ()}
        for port in new.get("ports") or ():
            if not port.get("nodePort") and before.get(port.get("name", "")):
                port["nodePort"] = before[port.get("name", "")]
        if not new.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
            new["healthCheckNodePort"] = old["healthCheckNodePort"]


def _has_node_ports(spec: dict[str, Any]) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _check_lasting(resource: Resource, new: dict[str, Any], old: dict[str, Any]) -> None:
    """Refuse the change of what may not change."""
    name = new["metadata"]["name"]
    if resource.kind == "EndpointSlice" and new["addressType"] != old["addressType"]:
        raise _refused(resource, name, "addressType", "field is immutable")
    if resource.kind == "Service":
        was, now = (spec.get("clusterIPs") or [] for spec in (old["spec"], new["spec"]))
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
