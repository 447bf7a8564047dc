"""What happens to an object before it is stored: defaults, checks and allocation, by the rules of `spec`."""

from __future__ import annotations

import base64
import itertools
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, UNSET

from ..errors import SpecError
from ..spec.check import check_metadata
from ..spec.check_endpoints import check_endpoints, check_slice
from ..spec.check_others import check_namespace, check_node, check_pod, check_service_cidr
from ..spec.check_service import check_service
from ..spec.decode import typed, without_nulls
from ..spec.defaults import default_endpoints, default_pod, default_service, default_slice
from ..spec.names import DNS_SUBDOMAIN, generated_name, is_dns_subdomain
from ..spec.objects import Endpoints, EndpointSlice, Namespace, Node, Object, Pod, Service, ServiceCIDR
from ..spec.text import Wrong
from .allocation import Allocation, keep_allocated
from .collection import Collection
from .deletion import now
from .metadata import SERVERS_OWN
from .poddefaults import fill_pod, qos_class
from .resources import RESOURCES, Resource
from .schema import of_kind, wrong_type
from .status import Cause, StatusError, bad_request, invalid
from .workloads import LASTING, fill_workload, initial_status, workload_causes

__all__ = ["Admission"]

_WORKLOADS = ("DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet")
_FILLED = (*_WORKLOADS, "Pod", "Secret")
_FIRST_STATUS: dict[str, dict[str, Any] | None] = {
    "Namespace": {"phase": "Active"},
    "Service": {"loadBalancer": {}},
    "Pod": {"phase": "Pending"},
    "ServiceCIDR": None,
    **{kind: initial_status(kind) for kind in _WORKLOADS},
}
"""The status of a new object, for the kinds whose client can't set it."""
_KEPT = {
    **{resource.kind: ("status",) for resource in RESOURCES if "status" in resource.parts},
    "Namespace": ("spec", "status"),
}
"""What an update of an object leaves as it is."""
_MARKS = ("deletionTimestamp", "deletionGracePeriodSeconds")
_POD_CHANGES = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations")
_POD_LASTING = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)


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
_OTHERS = _Rules(Object, lambda item: check_metadata(item, is_dns_subdomain, DNS_SUBDOMAIN))
"""Of the kinds that `spec` doesn't read, and of workloads, whose checks are the server's own."""


class Admission:
    """Makes of a client's object what the store keeps."""

    def __init__(self, collections: Mapping[Resource, Collection], node_port_range: tuple[int, int]) -> None:
        by_kind = {resource.kind: collection for resource, collection in collections.items()}
        self._allocation = Allocation(by_kind["Service"], by_kind["ServiceCIDR"], node_port_range)
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
        if resource.kind == "Job":
            meta["uid"] = str(uuid.uuid4())
        _fill(resource, given)
        made = self._checked(resource, given, _decoded(resource, given))
        if (status := _FIRST_STATUS.get(resource.kind)) is not None:
            made["status"] = dict(status)
        if resource.kind == "Namespace":
            made["spec"] = {"finalizers": ["kubernetes"]}
        if resource.kind == "Pod":
            made["status"]["qosClass"] = qos_class(made["spec"])
        return made

    def updated(self, resource: Resource, obj: Mapping[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        """`obj`, which takes the place of `old`, with defaults and with what `old` was allocated.

        :raises StatusError: 400, 422
        """
        given = _given(resource, obj)
        given["metadata"] |= {name: old["metadata"][name] for name in _MARKS if name in old["metadata"]}
        kept = _KEPT.get(resource.kind, ())
        for part in kept:
            given.pop(part, None)
        if resource.kind == "Job":
            given["metadata"]["uid"] = old["metadata"]["uid"]
        _fill(resource, given)
        item = _decoded(resource, given)
        if resource.kind == "Service":
            keep_allocated(given["spec"], old.get("spec") or {})
            item = _decoded(resource, given)
        made = self._checked(resource, given, item)
        _check_lasting(resource, made, old)
        return made | {part: old[part] for part in kept if part in old}

    def with_status(self, resource: Resource, obj: Mapping[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        """`old` with the status of `obj`.

        :raises StatusError: 400, where it has fields of a wrong type
        """
        status: dict[str, Any] = without_nulls({"status": obj.get("status") or {}})
        _check_types(resource, status)
        return old | status

    def bound(self, pod: dict[str, Any], node: str) -> dict[str, Any]:
        """`pod`, which has no node, on `node`; its condition PodScheduled is true from now on."""
        conditions = [
            each for each in pod["status"].get("conditions") or () if each.get("type") != "PodScheduled"
        ]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
        status = {**pod["status"], "conditions": [*conditions, scheduled]}
        return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status}

    def _checked(self, resource: Resource, given: dict[str, Any], item: Object) -> dict[str, Any]:
        """`given` with the defaults of `item`, which was decoded from it, once all checks have passed."""
        rules = _RULES.get(resource.kind, _OTHERS)
        try:
            if rules.default is not None:
                rules.default(item)
            rules.check(item)
            if isinstance(item, Service):
                self._allocation.fill(item)
        except SpecError as error:
            raise _refused(resource, item.metadata.name, error.field, error.message) from None
        if resource.kind in _WORKLOADS and (causes := workload_causes(resource.kind, given)):
            raise invalid(resource.kind, item.metadata.name, causes, resource.group)
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


def _fill(resource: Resource, given: dict[str, Any]) -> None:
    """Fill in the defaults that `spec` doesn't know, in place.

    :raises StatusError: 400, where a field is of a wrong type
    """
    if resource.kind not in _FILLED:
        return
    _check_types(resource, given)
    if resource.kind == "Pod" and "spec" in given:
        fill_pod(given["spec"])
    elif resource.kind in _WORKLOADS:
        fill_workload(resource.kind, given)
    elif resource.kind == "Secret":
        given["type"] = given.get("type") or "Opaque"
        plain = given.pop("stringData", {})
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        if coded:
            given["data"] = {**given.get("data", {}), **coded}


def _decoded(resource: Resource, given: dict[str, Any]) -> Object:
    """`given` in the type of its kind.

    :raises StatusError: 400, where a field is of a wrong type
    """
    try:
        item = typed(given, _RULES.get(resource.kind, _OTHERS).cls)
    except Wrong as wrong:
        raise _undecodable(resource, f"{wrong.field}: {wrong.message}") from None
    _check_types(resource, given)
    return item


def _check_types(resource: Resource, given: dict[str, Any]) -> None:
    wrong = wrong_type(of_kind(resource.api_version, resource.kind), given)
    if wrong is not None:
        path, found, wanted = wrong
        raise _undecodable(resource, f"json: cannot unmarshal {found} into field {path} of type {wanted}")


def _undecodable(resource: Resource, why: str) -> StatusError:
    where = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    return bad_request(f"{where}: {why}")


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

    if resource.kind == "Pod":
        _check_same_pod(resource, name, new["spec"], old["spec"])
    for field in LASTING.get(resource.kind, ()):
        if new["spec"].get(field) != old["spec"].get(field):
            raise _refused(resource, name, f"spec.{field}", "field is immutable")


def _check_same_pod(resource: Resource, name: str, new: dict[str, Any], old: dict[str, Any]) -> None:
    """ValidatePodUpdate: a Pod's spec stays, but for images and three fields more."""

    def lasting(spec: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in spec.items() if key not in _POD_CHANGES}
        for field in ("containers", "initContainers"):
            if field in rest:
                rest[field] = [{**each, "image": ""} for each in rest[field]]
        return rest

    if lasting(new) != lasting(old):
        raise invalid(resource.kind, name, [Cause("FieldValueForbidden", _POD_LASTING, "spec")])


# --- a typed object back over the plain values that it was read from ---


_NESTED = (msgspec.Struct, list)


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
        if not item or not isinstance(item[0], _NESTED):
            return item
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
            out[field.key] = _filled(value, out.get(field.key)) if isinstance(value, _NESTED) else value
    return out
