"""What the input held that kcompile has no use for: a line a file, with counts by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ..notices import Notice
from .inventory import Skipped
from .text import printable

__all__ = ["kind_title", "skipped_notices"]

_BUILT_IN = ("", "apps", "autoscaling", "batch", "extensions", "policy")
# Kinds that are read, of the API's own groups: another group's says whose it is.
_READ = ("Service", "EndpointSlice", "Endpoints", "Pod", "Node", "Deployment", "Namespace", "ServiceCIDR")


def skipped_notices(skipped: Iterable[Skipped], *, each: bool = False) -> list[Notice]:
    """A warning for each file; for each object where `each`."""
    by_file: dict[str, list[Skipped]] = {}
    for one in skipped:
        by_file.setdefault(printable(one.origin.source), []).append(one)
    notices: list[Notice] = []
    for source, objects in by_file.items():
        if each:
            notices += [_one(source, one) for one in objects]
        else:
            notices.append(Notice("skipped", _counted(objects), source=source))
    return notices


def kind_title(version_and_kind: str) -> str:
    """``apiVersion/kind`` as people name a kind: ``ConfigMap``, ``Certificate.cert-manager.io``."""
    version, _, kind = version_and_kind.rpartition("/")
    group = version.rpartition("/")[0]
    own = group in _BUILT_IN or group.endswith(".k8s.io")
    return kind if own and (kind not in _READ or not group) else f"{kind}.{group}"


def _one(source: str, one: Skipped) -> Notice:
    title = f"{kind_title(one.kind)} {one.name}".rstrip()
    return Notice("skipped", "skipped: not a kind that is used here", source=source, object=title)


def _counted(objects: Iterable[Skipped]) -> str:
    """``skipped 3 objects of kinds that are not used here: 2 ConfigMap, 1 Role``, the most frequent first."""
    counts = Counter(kind_title(one.kind) for one in objects)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    total = sum(counts.values())
    names = ", ".join(f"{count} {kind}" for kind, count in ordered)
    return f"skipped {total:,} object{'s' if total > 1 else ''} of kinds that are not used here: {names}"
