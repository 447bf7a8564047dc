"""Kinds of Kubernetes' own API groups that are nearly spelt as one that is read: the API server would know
none of them.
"""

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
    """The kind (with its apiVersion where that is another) that `kind` of `version` must have been meant for;
    else "".

    By case, by number, or by a letter. Only of Kubernetes' own groups: what others call their kinds is their
    business.
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
