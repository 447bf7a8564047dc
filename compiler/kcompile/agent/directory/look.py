"""One look at the files: which have changed, what they say now, and what that changes for the sink.

Everything here blocks, and is called in one thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...engine.request import allocations_path
from ...errors import KcompileError, SpecError
from ...spec.inventory import Inventory
from ...spec.kustomize import folders_of, kustomize
from ...spec.load import Text
from ...spec.objects import Object
from ...spec.reader import SUFFIXES, Unreadable, files, read
from ..source import Kind
from .manifests import Manifests
from .watches import Interest, Watches, entries

if TYPE_CHECKING:
    from ...engine.request import Request
    from ...spec.config import Config

__all__ = ["Delta", "Look", "Reader"]

_LISTS: Mapping[Kind, str] = {
    "Node": "nodes",
    "ServiceCIDR": "service_cidrs",
    "Namespace": "namespaces",
    "Service": "services",
    "EndpointSlice": "endpoint_slices",
    "Pod": "pods",
}
"""The kinds that can be given, and their lists in an Inventory."""

_QUIET, _LONGEST = 0.002, 0.03
"""Seconds without an event after which a change is looked at, and the most that it waits: a swap of links is
several steps, a copy of a folder many.
"""
_RACY = 2.0
"""Seconds: a file that was written less than this before it was read is read again at the next look, for its
next write may leave its time and size as they are.
"""

_Name = tuple[str, str]
_Stamp = tuple[int, int, int, int, int]


class Delta(NamedTuple):
    """What has changed since the last look. `listed`: all of each kind, the first time."""

    listed: dict[Kind, list[Object]]
    put: list[tuple[Kind, Object]]
    gone: list[tuple[Kind, _Name]]


class Look(NamedTuple):
    """What a look has found.

    `delta`: None where nothing is new. `error`: why something isn't as the files say; None where all is.
    `again`: files have changed meanwhile.
    """

    delta: Delta | None
    error: KcompileError | None
    again: bool = False


class _Seen(NamedTuple):
    """A file when it was read last. `stamp`: None where it may have changed without a trace."""

    stamp: _Stamp | None
    digest: bytes


class Reader:
    """The files of `request`, read when `watches` tell of a change. `kinds`: those to give, in this order.
    `allocates`: whether what is allocated is also remembered. Warnings go to `log`.
    """

    def __init__(
        self,
        request: Request,
        config: Config,
        watches: Watches,
        log: logging.Logger,
        *,
        kinds: Iterable[Kind],
        allocates: bool = True,
    ) -> None:
        self._request, self._watches, self._log = request, watches, log
        self._kinds, path = tuple(kinds), allocations_path(request)
        self._memory = None if allocates else path
        self._manifests = Manifests(request, config, path, keeps=allocates)
        self._seen: dict[str, _Seen] = {}
        self._sources: list[str] = []
        self._given: dict[Kind, dict[_Name, Object]] | None = None
        self._error: KcompileError | None = None
        self._due = 0.0

    def look(self, patience: float) -> Look:
        """Look, if an event says so, or there was no look for `patience` seconds."""
        changed = self._watches.changed(_QUIET, _LONGEST)
        if not changed and time.monotonic() < self._due:
            return Look(None, self._error)
        self._due = time.monotonic() + patience
        delta, again = None, False
        try:
            while self._watches.follow(_interests(self._request, self._memory)):
                pass  # a folder may have come before its watch did
            sources, again = self._read()
            delta = self._delta(sources)
            self._error = self._worst(sources)
        except Unreadable as error:
            self._error = SpecError(error.message, source=error.source)
        except KcompileError as error:
            self._error = error
        self._tell()
        return Look(delta, self._error, again)

    def _read(self) -> tuple[list[str], bool]:
        """Parse what has changed; the names of all sources, and whether more has changed meanwhile."""
        request = self._request
        paths = list(files(request.files, recursive=request.recursive))
        texts = [text for path in paths if (text := self._changed(path)) is not None]
        again = self._watches.note(self._watches.inotify.read())
        for path, data, seen in texts:
            if not self._watches.being_written(path):
                self._take(Text(path, data), seen)
        sources = list(paths)
        for directory in request.kustomizations:
            sources.append(name := f"{directory} (kustomize)")
            try:
                data = kustomize(directory, request.max_input_bytes)
            except Unreadable as error:
                self._refuse(name, error)
                continue
            self._take(Text(name, data), _Seen(None, sha256(data).digest()))
        for gone in self._seen.keys() - set(sources):
            del self._seen[gone]
        return sources, again

    def _changed(self, path: str) -> tuple[str, bytes, _Seen] | None:
        """What the file says, where that may be new; None while somebody writes it."""
        before = self._seen.get(path)
        try:
            stamp = _stamp(path)
            if (before and before.stamp == stamp) or self._watches.being_written(path):
                return None
            data = read(path, None, self._request.max_input_bytes)
        except OSError as error:
            self._refuse(path, Unreadable(path, error.strerror or "can't be read"))
            return None
        except Unreadable as error:
            self._refuse(path, error)
            return None
        settled = time.time() - stamp[3] / 1e9 > _RACY
        return path, data, _Seen(stamp if settled else None, sha256(data).digest())

    def _take(self, text: Text, seen: _Seen) -> None:
        before = self._seen.get(text.source)
        self._seen[text.source] = seen
        if before is None or before.digest != seen.digest:
            self._manifests.parse(text)

    def _refuse(self, source: str, error: Unreadable) -> None:
        self._seen.pop(source, None)
        self._manifests.refuse(source, SpecError(error.message, source=error.source))

    def _delta(self, sources: list[str]) -> Delta | None:
        """What the files change. Raises KcompileError where they make no cluster."""
        is_same = sources == self._sources and not self._manifests.pending and self._given is not None
        if is_same and not self._manifests.has_other_memory():
            return None
        if self._given is None and any(map(self._watches.being_written, sources)):
            return None
        whole = _named(self._manifests.whole(sources), self._kinds)
        self._sources = sources
        before, self._given = self._given, whole
        if before is None:
            return Delta({kind: list(objects.values()) for kind, objects in whole.items()}, [], [])
        return Delta({}, list(_put(before, whole)), list(_gone(before, whole)))

    def _worst(self, sources: list[str]) -> KcompileError | None:
        """The first file that isn't in force as it is."""
        errors = self._manifests.errors
        return next((errors[source] for source in sources if source in errors), None)

    def _tell(self) -> None:
        for notice in self._request.heard(self._manifests.notices):
            self._log.warning("%s [%s]", notice, notice.id)
        self._manifests.notices.clear()


def _stamp(path: str) -> _Stamp:
    found = os.stat(path)  # noqa: PTH116 -- of each file, at each look
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _interests(request: Request, memory: Path | None) -> dict[str, Interest]:
    """What to watch, by folder. `memory`: the file with what others have allocated."""
    found: dict[str, Interest] = {}

    def watch(folder: Path) -> Interest:
        return found.setdefault(str(folder.resolve()), Interest())

    def watch_entries(path: Path) -> None:
        for folder, name in entries(path):
            watch(Path(folder)).names.add(name)

    for path in map(Path, (*request.files, *request.kustomizations)):
        watch_entries(path)
    if memory is not None:
        watch_entries(memory)
    for directory in filter(Path.is_dir, map(Path, request.files)):
        for folder in _folders(directory, recursive=request.recursive):
            interest = watch(folder)
            interest.suffixes, interest.folders = SUFFIXES, request.recursive
            for link in _links(folder):
                watch_entries(link)
    for directory in map(Path, request.kustomizations):
        for folder in folders_of(directory):
            interest = watch(folder)
            interest.suffixes, interest.folders = ("",), True
    return found


def _folders(directory: Path, *, recursive: bool) -> Iterator[Path]:
    """`directory`, and the folders below it that are read too."""
    yield directory
    if recursive:
        for folder, names, _ in os.walk(directory):
            yield from (Path(folder, name) for name in names if not Path(folder, name).is_symlink())


def _links(folder: Path) -> list[Path]:
    """The manifests in `folder` that are links."""
    try:
        with os.scandir(folder) as found:
            return [Path(e.path) for e in found if e.is_symlink() and e.name.endswith(SUFFIXES)]
    except OSError:  # it is gone: an event says so
        return []


def _named(inventory: Inventory, kinds: Iterable[Kind]) -> dict[Kind, dict[_Name, Object]]:
    return {
        kind: {(obj.metadata.namespace, obj.metadata.name): obj for obj in getattr(inventory, _LISTS[kind])}
        for kind in kinds
    }


def _put(
    before: Mapping[Kind, Mapping[_Name, Object]], now: dict[Kind, dict[_Name, Object]]
) -> Iterator[tuple[Kind, Object]]:
    """The objects of `now` that are new or differ; for the others, `now` gets the earlier one."""
    for kind, objects in now.items():
        for name, obj in objects.items():
            old = before[kind].get(name)
            if old is obj:
                continue
            if old is None or not old.says_the_same(obj):
                yield kind, obj
            else:
                objects[name] = old


def _gone(
    before: Mapping[Kind, Mapping[_Name, Object]], now: Mapping[Kind, Mapping[_Name, Object]]
) -> Iterator[tuple[Kind, _Name]]:
    for kind, objects in before.items():
        yield from ((kind, name) for name in objects if name not in now[kind])
