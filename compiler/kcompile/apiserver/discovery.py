"""Discovery: which groups, resources and verbs there are, in the aggregated and in the old form.

Beside the kinds of the store there are what can only be created (access reviews, evictions), and the group
policy, which kubectl drain looks for.
"""

from __future__ import annotations

import hashlib
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from .resources import RESOURCES, Resource

__all__ = ["DISCOVERY_PATHS", "Document", "aggregated", "document", "old_form"]

Plain = dict[str, Any]
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_PART_VERBS = {
    "status": ["get", "patch", "update"],
    "scale": ["get", "patch", "update"],
    "finalize": ["update"],
    "log": ["get"],
    **{part: ["create", "get"] for part in ("exec", "attach", "portforward")},
    **{part: ["create"] for part in ("binding", "eviction", "token")},
}
_PART_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
    "binding": ("", "v1", "Binding"),
}
DISCOVERY_PATHS = ("/api", "/apis")
"""What has an aggregated form."""
_REVIEWS = "authorization.k8s.io"
_GROUPS = sorted({each.group for each in RESOURCES} | {_REVIEWS, "policy"} - {""})
_REVIEW: Plain = {
    "resource": "selfsubjectaccessreviews",
    "responseKind": {"group": "", "version": "", "kind": "SelfSubjectAccessReview"},
    "scope": "Cluster",
    "singularResource": "selfsubjectaccessreview",
    "verbs": ["create"],
}


class Document(NamedTuple):
    """An answer that stays the same, and the value of its ETag."""

    body: bytes
    tag: str


def document(body: bytes) -> Document:
    """`body` with its tag."""
    return Document(body, f'"{hashlib.sha512(body).hexdigest().upper()}"')


@cache
def aggregated(*, core: bool) -> Document:
    """The APIGroupDiscoveryList of ``/api``, or of ``/apis``."""
    groups = ("",) if core else _GROUPS
    items = [_group(group) for group in groups if core or group]
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
    return document(msgspec.json.encode({**head, "items": items}))


def _group(group: str) -> Plain:
    resources = [_resource(each) for each in _of(group)]
    if group == _REVIEWS:
        resources.append(_REVIEW)
    version = {"version": "v1", "resources": resources, "freshness": "Current"}
    return {"metadata": {"name": group} if group else {}, "versions": [version]}


def _of(group: str) -> list[Resource]:
    return sorted((each for each in RESOURCES if each.group == group), key=lambda each: each.plural)


def _resource(resource: Resource) -> Plain:
    found: Plain = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": _singular(resource),
        "verbs": _VERBS,
    }
    if resource.short:
        found["shortNames"] = list(resource.short)
    if resource.everyday:
        found["categories"] = ["all"]
    if resource.parts:
        found["subresources"] = [_part(resource, part) for part in resource.parts]
    return found


def _singular(resource: Resource) -> str:
    return "endpoints" if resource.kind == "Endpoints" else resource.kind.lower()


def _part(resource: Resource, part: str) -> Plain:
    group, version, kind = _PART_KINDS.get(part, ("", "", resource.kind))
    response = {"group": group, "version": version if group else "", "kind": kind}
    return {"subresource": part, "responseKind": response, "verbs": _PART_VERBS[part]}


def old_form(path: str) -> Document | None:
    """The unaggregated answer for ``/api``, ``/apis``, ``/api/v1``, ``/apis/GROUP`` and ``/apis/GROUP/v1``.

    None for any other path.
    """
    found: Plain
    match path.strip("/").split("/"):
        case ["api"]:
            found = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = [_versions(group) for group in _GROUPS if group]
            found = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["api", "v1"]:
            found = _list("")
        case ["apis", group] if group in _GROUPS:
            found = {"kind": "APIGroup", "apiVersion": "v1", **_versions(group)}
        case ["apis", group, "v1"] if group in _GROUPS:
            found = _list(group)
        case _:
            return None
    return document(msgspec.json.encode(found))


def _versions(group: str) -> Plain:
    version = {"groupVersion": f"{group}/v1", "version": "v1"}
    return {"name": group, "versions": [version], "preferredVersion": version}


def _list(group: str) -> Plain:
    resources = list(chain.from_iterable(map(_entries, _of(group))))
    if group == _REVIEWS:
        names = {"name": _REVIEW["resource"], "singularName": _REVIEW["singularResource"]}
        resources.append(
            {**names, "namespaced": False, "kind": "SelfSubjectAccessReview", "verbs": ["create"]}
        )
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}


def _entries(resource: Resource) -> list[Plain]:
    """A resource and its subresources."""
    own: Plain = {
        "name": resource.plural,
        "singularName": _singular(resource),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
    }
    if resource.short:
        own["shortNames"] = list(resource.short)
    if resource.everyday:
        own["categories"] = ["all"]
    return [own, *(_part_entry(resource, part) for part in resource.parts)]


def _part_entry(resource: Resource, part: str) -> Plain:
    group, version, kind = _PART_KINDS.get(part, ("", "", resource.kind))
    entry: Plain = {
        "name": f"{resource.plural}/{part}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if group:
        entry |= {"group": group, "version": version}
    return {**entry, "kind": kind, "verbs": _PART_VERBS[part]}
