"""Finds the object, Pod or container that a word of ``kcompile lab`` names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..lab.objects import Container
    from ..lab.state import LabState, PodState

__all__ = ["container_named", "key_of", "kind_named", "pods_named"]

_KINDS = (
    "Deployment",
    "Service",
    "ConfigMap",
    "Secret",
    "Namespace",
    "EndpointSlice",
    "Endpoints",
    "ServiceCIDR",
    "Pod",
)


def kind_named(word: str) -> str:
    """The kind that `word` names: in any case, singular or with an s. Raises InputError."""
    for kind in _KINDS:
        if word.lower() in (kind.lower(), kind.lower() + "s"):
            return kind
    raise InputError(f"{word} is not one of {', '.join(_KINDS)}")


def key_of(state: LabState, kind: str, name: str, namespace: str | None) -> str:
    """The key of the one object of `kind` with this name, in `namespace` or any. Raises InputError."""
    parts = (key.split("/") for key in state.objects)
    found = [part for part in parts if (part[0], part[2]) == (kind, name) and namespace in (None, part[1])]
    if not found:
        inside = f" in namespace {namespace}" if namespace else ""
        raise InputError(f"there is no {kind} {name}{inside}")
    if len(found) > 1:
        namespaces = ", ".join(part[1] for part in found)
        raise InputError(f"{kind} {name} is in {namespaces}: say which with -n")
    return "/".join(found[0])


def pods_named(state: LabState, who: str, namespace: str | None) -> list[PodState]:
    """The Pods that `who` names: deploy/NAME all of a Deployment's, else one by its name or its beginning.

    At least one. Raises InputError.
    """
    kind, _, last = who.rpartition("/")
    inside = [pod for pod in state.pods if namespace in (None, pod.namespace)]
    if kind in ("deploy", "deployment"):
        found = [pod for pod in inside if pod.owner.partition("/")[2] == last]
    else:
        inside = [pod for pod in inside if not kind or pod.namespace == kind]
        exact = [pod for pod in inside if pod.name == last]
        found = exact or [pod for pod in inside if pod.name.startswith(last)]
        if len(found) > 1:
            raise InputError(f"{who} is several pods: {', '.join(pod.name for pod in found)}")
    if not found:
        raise InputError(f"there is no pod {who} in lab {state.name}")
    return found


def container_named(containers: Sequence[Container], name: str | None) -> str:
    """`name`, which must be that of a container; the first one's where it is None. Raises InputError."""
    names = [each.name for each in containers]
    if name is not None and name not in names:
        raise InputError(f"there is no container {name}: the pod has {', '.join(names)}")
    return name or names[0]
