"""The objects that a word of ``kcompile lab`` names, in kubectl's spellings: ``svc``, ``deploy/web``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..apiserver.resources import RESOURCES, Resource
from ..errors import InputError
from .remote import Remote
from .waiting import Named

__all__ = ["container_of", "kind_named", "named", "object_named", "owners", "pods_named"]

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_OWNERS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")


def kind_named(word: str) -> Resource:
    """The kind that `word` means: its name, plural or short name, in any case. Raises InputError."""
    plain = word.lower().partition(".")[0]
    for resource in RESOURCES:
        if plain in (resource.kind.lower(), resource.plural, *resource.short):
            return resource
    raise InputError(f"{word} is not one of {', '.join(each.plural for each in RESOURCES)}")


def named(words: Sequence[str]) -> list[tuple[Resource, str]]:
    """Kinds and names of ``KIND NAME...`` or ``KIND/NAME...``. Raises InputError."""
    if words and "/" in words[0]:
        pairs = [word.partition("/") for word in words]
        if not all(slash and name for _, slash, name in pairs):
            raise InputError("give KIND NAME..., or KIND/NAME each")
        return [(kind_named(kind), name) for kind, _, name in pairs]
    if len(words) < 2:
        raise InputError("give KIND NAME..., or KIND/NAME each")
    return [(kind_named(words[0]), name) for name in words[1:]]


def object_named(remote: Remote, resource: Resource, name: str, namespace: str | None) -> Named:
    """The one object of a kind with this name, in `namespace` or (None) any. Raises InputError."""
    if not resource.namespaced:
        found = [remote.get(resource.kind, "", name)]
    elif namespace is not None:
        found = [remote.get(resource.kind, namespace, name)]
    else:
        found = [obj for obj in remote.objects(resource.kind) if obj["metadata"]["name"] == name]
    there = [_named(resource.kind, obj) for obj in found if obj is not None]
    if not there:
        where = f"{namespace}/" if namespace and resource.namespaced else ""
        raise InputError(f"there is no {resource.kind} {where}{name} in lab {remote.name}")
    if len(there) > 1:
        raise InputError(f"{resource.kind} {name} is in {_listed(each.namespace for each in there)}: use -n")
    return there[0]


def pods_named(remote: Remote, who: str, namespace: str | None) -> list[dict[str, Any]]:
    """The Pods that `who` means: a name, the beginning of one Pod's name, ``pod/NAME`` or ``deploy/NAME``.

    Running ones first. Raises InputError where there is none, or it isn't clear which.
    """
    kind, slash, name = who.partition("/")
    pods = [pod for pod in remote.objects("Pod", namespace) if "deletionTimestamp" not in pod["metadata"]]
    resource = kind_named(kind) if slash else None
    if resource is not None and resource.kind in _OWNERS:
        return _of_owner(remote, resource, name, namespace, pods)
    wanted = name if slash else who
    found = [pod for pod in pods if pod["metadata"]["name"] == wanted]
    found = found or [pod for pod in pods if pod["metadata"]["name"].startswith(wanted)]
    if not found:
        raise InputError(f"there is no pod {wanted} in lab {remote.name} (kcompile lab status shows them)")
    if len(found) > 1:
        raise InputError(f"{who} could be {_listed(pod['metadata']['name'] for pod in found)}")
    return found


def container_of(pod: dict[str, Any], name: str | None) -> str:
    """`name` if the Pod has such a container, else that of its annotation, else its first.

    Raises InputError.
    """
    names: list[str] = [each["name"] for each in pod["spec"]["containers"]]
    others = [each["name"] for each in pod["spec"].get("initContainers") or ()]
    if name is not None and name not in (*names, *others):
        raise InputError(f"there is no container {name}: the pod has {', '.join(names)}")
    chosen = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    return name or (str(chosen) if chosen in names else names[0])


def _of_owner(
    remote: Remote, resource: Resource, name: str, namespace: str | None, pods: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    where = object_named(remote, resource, name, namespace)
    owner = remote.get(*where)
    owners = {owner["metadata"]["uid"]} if owner else set()
    if resource.kind == "Deployment":
        sets = remote.objects("ReplicaSet", where.namespace)
        owners.update([each["metadata"]["uid"] for each in sets if _owned(each, owners)])
    found = [pod for pod in pods if _owned(pod, owners)]
    if not found:
        raise InputError(f"{resource.kind} {name} has no pods")
    return sorted(found, key=lambda pod: (pod.get("status") or {}).get("phase") != "Running")


def owners(remote: Remote, pods: Iterable[Named]) -> list[Named]:
    """The workloads that those of the objects which are Pods belong to; a Deployment in the place of its
    ReplicaSet.
    """
    found: dict[Named, None] = {}
    for each in pods:
        pod = remote.get(*each) if each.kind == "Pod" else None
        for reference in (pod or {"metadata": {}})["metadata"].get("ownerReferences") or ():
            owner = Named(reference["kind"], each.namespace, reference["name"])
            above = (remote.get(*owner) or {"metadata": {}})["metadata"].get("ownerReferences") or ()
            names = [Named(one["kind"], each.namespace, one["name"]) for one in above] or [owner]
            found |= dict.fromkeys(names)
    return list(found)


def _owned(obj: dict[str, Any], owners: set[str]) -> bool:
    return any(each.get("uid") in owners for each in obj["metadata"].get("ownerReferences") or ())


def _named(kind: str, obj: dict[str, Any]) -> Named:
    return Named(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
