"""Warns of objects that kcompile doesn't read: a line a file with counts by kind, a line a directory of many
files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..notices import Notice
from .inventory import Skipped
from .text import printable

__all__ = ["kind_title", "skipped_notices"]

_FILES = 3
_BUILT_IN = ("", "apps", "autoscaling", "batch", "extensions", "policy")
# Kinds that are read, of the API's own groups: another group's says whose it is.
_READ = ("Service", "EndpointSlice", "Endpoints", "Pod", "Node", "Deployment", "Namespace", "ServiceCIDR")


def skipped_notices(skipped: Iterable[Skipped], *, each: bool = False) -> list[Notice]:
    """A warning for each file, or for a directory with more than _FILES such files; for each object where
    `each`.
    """
    by_file: dict[str, list[Skipped]] = {}
    for one in skipped:
        by_file.setdefault(one.origin.source, []).append(one)
    if each:
        return [_one(one) for objects in by_file.values() for one in objects]
    by_directory: dict[str, list[str]] = {}
    for source in by_file:
        by_directory.setdefault(str(Path(source).parent), []).append(source)
    notices: list[Notice] = []
    for directory, sources in by_directory.items():
        if len(sources) > _FILES:
            objects = [one for source in sources for one in by_file[source]]
            notices.append(_counted(directory, objects, f", in {len(sources):,} files"))
        else:
            notices += [_counted(source, by_file[source]) for source in sources]
    return notices


def kind_title(version_and_kind: str) -> str:
    """``apiVersion/kind`` as people name a kind: ``ConfigMap``, ``Certificate.cert-manager.io``."""
    version, _, kind = version_and_kind.rpartition("/")
    group = version.rpartition("/")[0]
    own = group in _BUILT_IN or group.endswith(".k8s.io")
    return kind if own and (kind not in _READ or not group) else f"{kind}.{group}"


def _one(one: Skipped) -> Notice:
    title = f"{kind_title(one.kind)} {one.name}".rstrip()
    return Notice(
        "skipped", "skipped: not a kind that is used here", source=printable(one.origin.source), object=title
    )


def _counted(source: str, objects: Sequence[Skipped], where: str = "") -> Notice:
    """``skipped 3 objects of kinds that are not used here: 2 ConfigMap, 1 Role``, the most frequent first."""
    counts = Counter(kind_title(one.kind) for one in objects)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = ", ".join(f"{count} {kind}" for kind, count in ordered)
    number = f"{len(objects):,} object{'s' if len(objects) > 1 else ''}"
    return Notice(
        "skipped",
        f"skipped {number} of kinds that are not used here{where}: {names}",
        source=printable(source),
    )
