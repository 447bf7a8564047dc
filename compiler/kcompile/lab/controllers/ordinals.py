"""The Pods of a StatefulSet by their ordinals: names, labels, host names, volumes (stateful_set_utils.go)."""

from __future__ import annotations

import re
from typing import Any

from ..client import Obj
from .history import REVISION_LABEL, template_of
from .pods import pod_from

__all__ = ["identified", "ordinal_of"]

_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
_INDEX_LABEL = "apps.kubernetes.io/pod-index"


def ordinal_of(pod: Obj, owner: str) -> int | None:
    """The ordinal of a Pod of the StatefulSet `owner`; None where its name isn't of that form."""
    found = re.fullmatch(rf"{re.escape(owner)}-(\d+)", pod["metadata"]["name"])
    return None if found is None else int(found[1])


def identified(owner: Obj, ordinal: int, revision: Obj) -> Obj:
    """The Pod with this ordinal, from the template of a revision."""
    name = f"{owner['metadata']['name']}-{ordinal}"
    pod = pod_from(template_of(revision), owner, name=name)
    pod["metadata"]["labels"] |= {
        _NAME_LABEL: name,
        _INDEX_LABEL: str(ordinal),
        REVISION_LABEL: revision["metadata"]["name"],
    }
    pod["spec"] |= {"hostname": name}
    if subdomain := owner["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = subdomain
    if claims := owner["spec"].get("volumeClaimTemplates"):
        pod["spec"]["volumes"] = _volumes(pod["spec"].get("volumes") or [], claims, name)
    return pod


def _volumes(given: list[dict[str, Any]], claims: list[dict[str, Any]], pod: str) -> list[dict[str, Any]]:
    """With a volume for each claim, which takes the place of one of its name."""
    names = [claim["metadata"]["name"] for claim in claims]
    own = [{"name": name, "persistentVolumeClaim": {"claimName": f"{name}-{pod}"}} for name in names]
    return [volume for volume in given if volume["name"] not in names] + own
