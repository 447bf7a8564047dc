"""Misspelt kinds of Kubernetes' own API groups: the API server would refuse them too."""

from __future__ import annotations

from difflib import get_close_matches

__all__ = ["meant_kind"]

_VERSIONS = {
    "Service": "v1",
    "Endpoints": "v1",
    "Pod": "v1",
    "Node": "v1",
    "Namespace": "v1",
    "List": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "Deployment": "apps/v1",
    "ServiceCIDR": "networking.k8s.io/v1",
}
"""The kinds that are read, and the apiVersion that each has."""

_LIKENESS = 0.85
"""Ratio of difflib: a plural, or one letter too many, too few or turned round.

No two kinds of these groups are as near.
"""

_LONGEST = 40


def meant_kind(kind: str, version: str) -> str:
    """The kind (with its apiVersion where that differs) that `kind` of `version` is a misspelling of; else
    empty.

    A wrong case or number, or one letter. Only in Kubernetes' own groups.
    """
    group = _group(version)
    if group not in _GROUPS or kind in _NAMES.values() or len(kind) > _LONGEST:
        return ""
    near = get_close_matches(kind.lower(), _NAMES, n=1, cutoff=_LIKENESS)
    if not near:
        return ""
    name = _NAMES[near[0]]
    own = _VERSIONS.get(name) or _VERSIONS[name.removesuffix("List")]
    return name if _group(own) == group else f"{name} of {own}"


def _group(version: str) -> str:
    """The group of an apiVersion; v1 has the empty one."""
    return version.rpartition("/")[0] or version


_GROUPS = {_group(version) for version in _VERSIONS.values()}
_NAMES = {name.lower(): name for kind in _VERSIONS for name in (kind, f"{kind}List")} | {"list": "List"}
del _NAMES["listlist"]
