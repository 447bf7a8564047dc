"""EndpointSlices of one owner: from what there is to what is wanted, in few writes.

The reconciler of k8s.io/endpointslice: an endpoint stays in its slice; room is filled before a slice is
added; at most a hundred endpoints are in one; a slice that would go takes the place of one that would come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...spec.wellknown import HEADLESS_LABEL, MANAGED_BY_LABEL, SERVICE_LABEL
from ..client import Obj
from .owners import reference
from .writes import Create, Delete, Update, Write

__all__ = ["MOST", "Group", "labels_of", "reconcile", "service_of"]

MOST = 100  # endpoints in a slice (--max-endpoints-per-slice)

Ports = tuple[tuple[str, str, int, str], ...]
"""Name, protocol, number and appProtocol of each."""


class Group(NamedTuple):
    """Endpoints that go into slices together: `address_type` is IPv4 or IPv6."""

    address_type: str
    ports: Ports
    endpoints: list[dict[str, Any]]


class _Plan:
    """The slices to write. Those in `filled` are changed already, so more in them costs nothing."""

    def __init__(self) -> None:
        self.filled: dict[str, Obj] = {}
        self.same: dict[str, Obj] = {}
        self.new: list[Obj] = []
        self.gone: list[Obj] = []


def reconcile(
    owner: Obj,
    groups: Iterable[Group],
    existing: Sequence[Obj],
    labels: Mapping[str, str],
    families: Iterable[str] = (),
) -> list[Write]:
    """The writes that make the slices of `owner` hold `groups`. `existing`: its slices, of this manager.

    `labels`: of each slice. `families` have a slice even without endpoints.
    """
    wanted = {(group.address_type, group.ports): group for group in groups}
    plan = _Plan()
    by_group: dict[tuple[str, Ports], list[Obj]] = {}
    for each in existing:
        key = each["addressType"], _ports(each)
        if key in wanted:
            by_group.setdefault(key, []).append(each)
        else:
            plan.gone.append(each)
    for key, group in wanted.items():
        _fill(plan, owner, group, by_group.get(key, []), labels)
    for family in families:
        _hold_place(plan, owner, family, labels)
    return _writes(plan)


def _ports(each: Obj) -> Ports:
    found = [
        (port.get("name", ""), port["protocol"], port["port"], port.get("appProtocol", ""))
        for port in each.get("ports") or ()
    ]
    return tuple(sorted(found))


def _identity(endpoint: Mapping[str, Any]) -> tuple[str, str]:
    return endpoint["addresses"][0], (endpoint.get("targetRef") or {}).get("uid", "")


def _fill(plan: _Plan, owner: Obj, group: Group, existing: Iterable[Obj], labels: Mapping[str, str]) -> None:
    """reconcileByPortMapping."""
    left = {_identity(each): each for each in group.endpoints}
    for each in existing:
        kept = [left.pop(_identity(old)) for old in each.get("endpoints") or () if _identity(old) in left]
        _sort_in(plan, each, kept, labels)
    for each in plan.filled.values():
        if (each["addressType"], _ports(each)) == (group.address_type, group.ports):
            _take(each["endpoints"], left)
    while left:
        target = _room(plan, group, len(left))
        _take(target["endpoints"] if target else _added(plan, owner, group, labels)["endpoints"], left)


def _sort_in(plan: _Plan, each: Obj, kept: list[dict[str, Any]], labels: Mapping[str, str]) -> None:
    """An existing slice, with the endpoints that it keeps: to go, to be changed, or the same."""
    name = each["metadata"]["name"]
    if not kept and each.get("endpoints"):
        plan.gone.append(each)
    elif kept == (each.get("endpoints") or []) and each["metadata"].get("labels") == labels:
        plan.same[name] = each
    else:
        plan.filled[name] = _relabelled(each, labels) | {"endpoints": kept}


def _relabelled(each: Obj, labels: Mapping[str, str]) -> Obj:
    return {**each, "metadata": {**each["metadata"], "labels": dict(labels)}}


def _take(endpoints: list[dict[str, Any]], left: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Move as many of `left` as there is room for."""
    room = max(MOST - len(endpoints), 0)
    endpoints += [left.pop(key) for key in list(left)[:room]]


def _room(plan: _Plan, group: Group, count: int) -> Obj | None:
    """The fullest unchanged slice that has room for all that is left, to be changed (getSliceToFill)."""
    fitting = [
        each
        for each in plan.same.values()
        if (each["addressType"], _ports(each)) == (group.address_type, group.ports)
        and len(each.get("endpoints") or ()) + count <= MOST
    ]
    if not fitting:
        return None
    fullest = max(fitting, key=lambda each: len(each.get("endpoints") or ()))
    name = fullest["metadata"]["name"]
    del plan.same[name]
    plan.filled[name] = {**fullest, "endpoints": list(fullest.get("endpoints") or ())}
    return plan.filled[name]


def _added(plan: _Plan, owner: Obj, group: Group, labels: Mapping[str, str]) -> Obj:
    """A new, empty slice."""
    meta = owner["metadata"]
    made: Obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": dict(labels),
            "ownerReferences": [reference(owner)],
        },
        "addressType": group.address_type,
        "endpoints": [],
        "ports": [_port(*port) for port in group.ports],
    }
    plan.new.append(made)
    return made


def _port(name: str, protocol: str, number: int, app_protocol: str) -> dict[str, Any]:
    more = {"appProtocol": app_protocol} if app_protocol else {}
    return {"name": name, "protocol": protocol, "port": number, **more}


def _hold_place(plan: _Plan, owner: Obj, family: str, labels: Mapping[str, str]) -> None:
    """An empty slice for a family without any endpoint, so that consumers know that it was looked at."""
    slices = [*plan.filled.values(), *plan.same.values(), *plan.new]
    if any(each["addressType"] == family for each in slices):
        return
    empty = [e for e in plan.gone if e["addressType"] == family and not e.get("endpoints") and not _ports(e)]
    if empty and empty[0]["metadata"].get("labels") == labels:
        plan.gone.remove(empty[0])
        plan.same[empty[0]["metadata"]["name"]] = empty[0]
    else:
        _added(plan, owner, Group(family, (), []), labels)


def _writes(plan: _Plan) -> list[Write]:
    """A slice that would go becomes one that would come, of the same family (finalize)."""
    writes: list[Write] = [Update(each) for each in plan.filled.values()]
    gone = list(plan.gone)
    for made in plan.new:
        same = next((each for each in gone if each["addressType"] == made["addressType"]), None)
        if same is None:
            writes.append(Create(made))
            continue
        gone.remove(same)
        relabelled = _relabelled(same, made["metadata"]["labels"])
        writes.append(Update({**relabelled, "endpoints": made["endpoints"], "ports": made["ports"]}))
    return writes + [Delete(each) for each in gone]


def labels_of(owner: Obj, manager: str, *, headless: bool) -> dict[str, str]:
    """setEndpointSliceLabels: the owner's own, and those that say whose slice it is."""
    meta = owner["metadata"]
    reserved = (SERVICE_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL)
    own = {key: value for key, value in (meta.get("labels") or {}).items() if key not in reserved}
    more = {HEADLESS_LABEL: ""} if headless else {}
    return own | more | {SERVICE_LABEL: meta["name"], MANAGED_BY_LABEL: manager}


def service_of(each: Obj, manager: str) -> Iterable[str]:
    """Namespace and name of the Service of a slice, where it is of this manager."""
    labels = each["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY_LABEL) != manager or SERVICE_LABEL not in labels:
        return ()
    return (f"{each['metadata']['namespace']}/{labels[SERVICE_LABEL]}",)
