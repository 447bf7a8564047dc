"""The path of a request: which resource, namespace and name it means."""

from __future__ import annotations

from typing import NamedTuple

from .resources import BY_PLURAL, Resource, is_group
from .status import not_served

__all__ = ["Target", "target"]

_OF_NAMESPACES = BY_PLURAL["", "v1", "namespaces"].parts
"""Subresources of a Namespace: what else follows its name is a resource in it."""


class Target(NamedTuple):
    """`name` is empty for a collection; `namespace` for all of them, and for cluster-scoped kinds.

    `part`: the subresource, or empty for the object itself.
    """

    resource: Resource
    namespace: str = ""
    name: str = ""
    part: str = ""


def target(path: str) -> Target | None:
    """What `path` means; None where it isn't a path of a served group.

    :raises StatusError: 404, where the group doesn't have such a resource, or that no such subresource
    """
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, parts = "", parts[1:]
    elif parts[0] == "apis" and len(parts) > 1:
        group, parts = parts[1], parts[2:]
    else:
        return None
    if len(parts) < 2 or not is_group(group, parts[0]):
        return None
    version, rest = parts[0], parts[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    resource = BY_PLURAL.get((group, version, rest[0]))
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise not_served()
    name, part = ([*rest[1:], "", ""])[:2]
    if (name and resource.namespaced and not namespace) or (part and part not in resource.parts):
        raise not_served()
    return Target(resource, namespace, name, part)
