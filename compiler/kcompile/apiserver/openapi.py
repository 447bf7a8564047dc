"""OpenAPI v3: the index of ``/openapi/v3``, and a document a group, made of the published schemas.

A client reads in them which fields a kind has, and that the server knows fieldValidation.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import chain
from typing import Any

import msgspec

from .discovery import Document, document
from .resources import RESOURCES, Resource
from .schema import published

__all__ = ["group_document", "index", "tag_hash"]

Plain = dict[str, Any]
_VALIDATED = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
_ACTIONS = {"get": "get", "put": "put", "patch": "patch", "delete": "delete"}


@cache
def index() -> Document:
    """The paths of the documents, with the hash of what is in each."""
    groups = sorted({_path(each) for each in RESOURCES})
    paths = {
        group: {"serverRelativeURL": f"/openapi/v3/{group}?hash={tag_hash(group_document(group))}"}
        for group in groups
    }
    return document(msgspec.json.encode({"paths": paths}))


def tag_hash(found: Document | None) -> str:
    """What the query `hash` of a document has to be."""
    return found.tag.strip('"') if found else ""


@lru_cache(maxsize=32)
def group_document(group: str) -> Document | None:
    """The document of ``api/v1`` or ``apis/GROUP/v1``; None for a group that isn't served."""
    resources = [each for each in RESOURCES if _path(each) == group]
    if not resources:
        return None
    paths: Plain = {}
    for each in resources:
        paths |= _paths(each, f"/{group}")
    info = {"title": "Kubernetes", "version": f"v{published()['kubernetes']}"}
    body = {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": _schemas(resources)}}
    return document(msgspec.json.encode(body))


def _path(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.api_version}"


def _paths(resource: Resource, prefix: str) -> Plain:
    """The paths of a resource, with the operations of each."""
    inside = f"{prefix}/namespaces/{{namespace}}" if resource.namespaced else prefix
    collection = {"get": _operation(resource, "list"), "post": _operation(resource, "post", _VALIDATED)}
    one = {
        verb: _operation(resource, action, _VALIDATED if verb in ("put", "patch") else [])
        for verb, action in _ACTIONS.items()
    }
    paths = {f"{inside}/{resource.plural}": collection, f"{inside}/{resource.plural}/{{name}}": one}
    if resource.namespaced:
        paths[f"{prefix}/{resource.plural}"] = {"get": _operation(resource, "list")}
    return paths


def _operation(resource: Resource, action: str, parameters: list[Plain] | None = None) -> Plain:
    return {
        "parameters": parameters or [],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(resource),
    }


def _kind(resource: Resource) -> Plain:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _schemas(resources: list[Resource]) -> Plain:
    """The schemas of kinds, and of all that is in them."""
    data = published()
    found: Plain = {}
    for resource in resources:
        name = data["kinds"][f"{resource.api_version}/{resource.kind}"]
        _collect(name, found)
        found[name] = {**found[name], "x-kubernetes-group-version-kind": [_kind(resource)]}
    return found


def _collect(name: str, found: Plain) -> None:
    if name not in found:
        found[name] = published()["schemas"][name]
        for reference in _references(found[name]):
            _collect(reference.rpartition("/")[2], found)


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return list(chain.from_iterable(map(_references, value)))
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + _references(list(value.values()))
