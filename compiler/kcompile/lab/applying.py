"""``kubectl apply`` from the client's side.

What was applied is kept in an annotation, so that a field which goes from a manifest goes from the object.
The patch is a JSON merge patch: a list is replaced as a whole, and the server fills in what it had allocated.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..apiserver import StatusError
from ..errors import InputError, KernelError
from .given import Given, missing_namespaces, refused, title
from .images import short_name
from .remote import Remote
from .waiting import Named

__all__ = ["apply", "change", "remove", "replace_pods", "scale"]

_GONE = 60.0  # seconds for a Pod to be gone before it is made again
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_LAST = "kubectl.kubernetes.io/last-applied-configuration"


def apply(remote: Remote, given: Sequence[Given], say: Callable[[str], None]) -> list[Named]:
    """Create or change the objects, and `say` of each what kubectl would; returns their names.

    Namespaces that are missing are made. Raises SpecError for the first that is refused.
    """
    for name in missing_namespaces(given):
        if remote.get("Namespace", "", name) is None:
            remote.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            say(f"namespace/{name} created")
    for each in given:
        try:
            say(f"{title(each.value)} {_apply(remote, each)}")
        except StatusError as error:
            raise refused(each, error) from None
    return [each.named for each in given]


def _apply(remote: Remote, each: Given) -> str:
    manifest = _annotated(each.value)
    before = remote.get(*each.named)
    if before is None:
        remote.create(manifest)
        return "created"
    last = (before["metadata"].get("annotations") or {}).get(_LAST)
    patch = change(json.loads(last) if last else {}, manifest)
    after = remote.patch(*each.named, patch)
    same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    return "unchanged" if same else "configured"


def _annotated(manifest: dict[str, Any]) -> dict[str, Any]:
    """`manifest` with itself as the annotation, written as kubectl writes it."""
    value = copy.deepcopy(manifest)
    annotations = value["metadata"].get("annotations") or {}
    annotations.pop(_LAST, None)
    value["metadata"]["annotations"] = annotations
    text = json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
    value["metadata"]["annotations"] = annotations | {_LAST: text}
    return value


def change(last: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch (RFC 7386) to `new`: null for what `last` has and `new` hasn't."""
    patch: dict[str, Any] = {key: None for key in last if key not in new}
    for key, value in new.items():
        old = last.get(key)
        if isinstance(value, Mapping):
            patch[key] = change(old if isinstance(old, Mapping) else {}, value)
        else:
            patch[key] = value
    return patch


def scale(remote: Remote, which: Named, replicas: int, say: Callable[[str], None]) -> None:
    """Set the number of Pods of a workload. Raises StatusError."""
    changed = remote.patch(*which, {"spec": {"replicas": replicas}})
    say(f"{title(changed)} scaled")


def remove(
    remote: Remote,
    wanted: Sequence[Named],
    say: Callable[[str], None],
    *,
    grace: int | None = None,
    timeout: float,
) -> None:
    """Delete the objects, and wait until they are gone, `timeout` seconds at most.

    Raises InputError for one that doesn't exist, before anything is deleted; KernelError where one stays.
    """
    there = {each: remote.get(*each) for each in wanted}
    for each, obj in there.items():
        if obj is None:
            where = f"{each.namespace}/" if each.namespace else ""
            raise InputError(f"there is no {each.kind} {where}{each.name} in lab {remote.name}")
    for each, obj in there.items():
        remote.delete(*each, grace=grace)
        say(f"{title(obj or {})} deleted")
    deadline = time.monotonic() + timeout
    left = list(there.items())
    while timeout and left:
        left = [(each, obj) for each, obj in left if _is_same(remote.get(*each), obj)]
        if left and time.monotonic() > deadline:
            raise KernelError(f"not gone after {timeout:.0f} s: {', '.join(each.name for each, _ in left)}")
        time.sleep(0.05 if left else 0)


def _is_same(now: dict[str, Any] | None, before: dict[str, Any] | None) -> bool:
    return now is not None and before is not None and now["metadata"]["uid"] == before["metadata"]["uid"]


def replace_pods(remote: Remote, images: Mapping[str, Any], say: Callable[[str], None]) -> list[Named]:
    """Replace the Pods that run one of `images`; returns those whose readiness is to be waited for."""
    waited: list[Named] = []
    for pod in remote.objects("Pod"):
        used = {short_name(container["image"]) for container in pod["spec"]["containers"]}
        if not used & set(images):
            continue
        meta = pod["metadata"]
        name = Named("Pod", meta["namespace"], meta["name"])
        owners = meta.get("ownerReferences")
        remove(remote, [name], say, timeout=0.0 if owners else _GONE)
        if not owners:
            remote.create(_again(pod))
            waited.append(name)
    workloads = [obj for kind in _WORKLOADS for obj in remote.objects(kind)]
    return waited + [
        Named(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in workloads
    ]


def _again(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a Pod like `pod`, on any node."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in pod["metadata"].items() if key in kept}
    spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
