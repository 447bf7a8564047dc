"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had (pkg/controller/history).

Its Pods bear the name or the hash of theirs in the label controller-revision-hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client import Client, Obj
from .numbers import template_hash
from .owners import controller_uid, reference
from .writes import Create, Delete, Update, Write

__all__ = ["REVISION_LABEL", "latest", "revision_of", "revisions", "surplus_revisions", "template_of"]

REVISION_LABEL = "controller-revision-hash"


def revisions(client: Client, owner: Obj) -> list[Obj]:
    """All of the owner's, oldest first."""
    found = client.find("ControllerRevision", controller_uid, owner["metadata"]["uid"])
    return sorted(found, key=lambda each: each["revision"])


def latest(owner: Obj, known: Sequence[Obj]) -> tuple[Obj | None, list[Write]]:
    """The revision of the owner's template; or None, and the write that makes it, or makes it the newest."""
    data = {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}
    number = known[-1]["revision"] + 1 if known else 1
    same = next((each for each in reversed(known) if each["data"] == data), None)
    if same is not None and same is not known[-1]:
        return None, [Update({**same, "revision": number})]
    if same is not None:
        return same, []
    meta, digest = owner["metadata"], template_hash(owner["spec"]["template"])
    labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    made = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{meta['name']}-{digest}",
            "namespace": meta["namespace"],
            "labels": {**labels, REVISION_LABEL: digest},
            "ownerReferences": [reference(owner)],
        },
        "data": data,
        "revision": number,
    }
    return None, [Create(made)]


def template_of(revision: Mapping[str, Any]) -> dict[str, Any]:
    """The template that the revision keeps."""
    template = revision["data"]["spec"]["template"]
    return {key: value for key, value in template.items() if key != "$patch"}


def revision_of(pod: Obj) -> str:
    """What the Pod's label says, empty where it has none."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def surplus_revisions(owner: Obj, known: Iterable[Obj], used: Iterable[str]) -> list[Write]:
    """Deletes the oldest beyond revisionHistoryLimit. `used`: names that stay."""
    kept = set(used)
    unused = [each for each in known if each["metadata"]["name"] not in kept]
    return [
        Delete(each) for each in unused[: max(len(unused) - owner["spec"].get("revisionHistoryLimit", 10), 0)]
    ]
