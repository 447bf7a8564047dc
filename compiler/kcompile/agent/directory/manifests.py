"""Manifests of several files as one cluster, read again file by file.

A file that changes is parsed alone, and in JSON only the objects in it that changed. Checks across files,
allocation and endpoints are those of ``kcompile apply``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ...engine.cluster import Memory
from ...engine.read import require_services
from ...errors import KcompileError, SpecError
from ...spec.allocate import lacks
from ...spec.cluster import ClusterSettings, settings_of
from ...spec.complete import complete
from ...spec.decode import Decoder, Manifest
from ...spec.gcpause import gc_paused
from ...spec.inventory import Inventory
from ...spec.load import Text, load_texts
from ...spec.objects import Object, Origin, Service
from ...spec.registry import KINDS, Kind
from ...spec.state import AllocationState
from ...spec.validate import validate

if TYPE_CHECKING:
    from ...engine.request import Request
    from ...notices import Notice
    from ...spec.config import Config

__all__ = ["Manifests"]

_T = TypeVar("_T", bound=Object)
_Known = dict[tuple[type[Object], bytes], Object]
_LISTS = {kind.list: kind for kind in KINDS.values()}


class _File(msgspec.Struct):
    """What a file holds, checked. `known`: its objects by type and the digest of their JSON."""

    inventory: Inventory
    known: _Known


class _Remembering(Decoder):
    """Takes an object that is `known` as it was decoded and checked before; `fresh` has the others."""

    def __init__(self, validate: str, known: _Known) -> None:
        super().__init__(Inventory(), validate)
        self._before, self.now, self.fresh = known, _Known(), Inventory()

    def decoded(self, kind: Kind, manifest: Manifest, origin: Origin) -> Object:
        place = None
        if isinstance(manifest, msgspec.Raw):
            place = kind.cls, sha256(manifest).digest()
            if (known := self._before.get(place)) is not None:
                self.now[place] = known
                return known
        obj = super().decoded(kind, manifest, origin)
        getattr(self.fresh, kind.list).append(obj)
        if place and obj.metadata.name:  # else its name depends on what is around it
            self.now[place] = obj
        return obj


class Manifests:
    """The cluster that a set of files describes.

    `errors`: by source, why what the file says now is not in force; its last good state is. `pending`: files
    that have been parsed, and aren't in force yet. `notices`: the warnings about what was read since they
    were last taken away. `keeps`: False where what is allocated isn't written down, and what another process
    has written is read.
    """

    def __init__(self, request: Request, config: Config, allocations: Path, *, keeps: bool = True) -> None:
        self.errors: dict[str, KcompileError] = {}
        self.notices: list[Notice] = []
        self._request, self._config, self._path = request, config, allocations
        self._files: dict[str, _File] = {}
        self.pending: dict[str, _File] = {}
        self._keeps = keeps
        self._memory: AllocationState | None = None
        self._read_memory: AllocationState | None = None
        self._settings: ClusterSettings | None = None
        self._read: list[Service] = []
        self._services: list[Service] = []

    def refuse(self, source: str, error: KcompileError) -> None:
        """What `source` says now can't be read."""
        self.pending.pop(source, None)
        self.errors[source] = error

    def parse(self, text: Text) -> None:
        """Take in what a file says now; an error is in `errors`."""
        before = self._files.get(text.source)
        decoder = _Remembering(self._request.strictness, before.known if before else {})
        try:
            inventory = load_texts([text], decoder=decoder)
            fresh = decoder.fresh
            decoded = {id(service) for service in fresh.services}
            validate(fresh)
        except KcompileError as error:
            self.refuse(text.source, error)
            return
        if left_out := decoded - {id(service) for service in fresh.services}:
            inventory.services = [each for each in inventory.services if id(each) not in left_out]
        self.notices += (*inventory.warnings, *fresh.warnings)
        self.pending[text.source] = _File(inventory, decoder.now)

    @gc_paused()
    def whole(self, sources: Sequence[str]) -> Inventory:
        """The cluster of the files `sources`, in this order, with all that it lacks allocated and filled in.

        A changed file that conflicts with the others keeps its last good state; the first time, every file
        has to be good.

        :raises KcompileError: where there is no such cluster. What was before stays in force then
        """
        for known in (self.pending, self.errors):
            for gone in known.keys() - set(sources):
                del known[gone]
        trying = dict(self.pending)
        for source in trying:
            self.errors.pop(source, None)
        if not self._files and self.errors:
            raise next(iter(self.errors.values()))
        while True:
            files = {s: file for s in sources if (file := trying.get(s) or self._files.get(s))}
            try:
                inventory = self._completed(files)
                break
            except SpecError as error:
                if not self._files or not trying:
                    raise
                for source in [s for s in trying if s == error.source] or list(trying):
                    self.errors[source] = error
                    del trying[source]
        self._files = files
        self.pending = {s: file for s, file in self.pending.items() if s not in trying}
        return inventory

    def _completed(self, files: Mapping[str, _File]) -> Inventory:
        inventory = _merged([file.inventory for file in files.values()])
        inventory.sources = list(files)
        require_services(inventory, self._request)
        inventory.services = self._allocated(inventory)
        complete(inventory)
        return inventory

    def has_other_memory(self) -> bool:
        """Whether another process has allocated something since the last look, and that counts."""
        if self._keeps or self._read_memory is None:
            return False
        return AllocationState.load(str(self._path)) != self._read_memory

    def _allocated(self, inventory: Inventory) -> list[Service]:
        """The Services with every address and port; what was allocated is on the disk then."""
        services = inventory.services
        settings = settings_of(self._config, inventory.service_cidrs)
        same = len(services) == len(self._read) and all(map(operator.is_, services, self._read))
        if same and settings == self._settings and not self.has_other_memory():
            return self._services
        before = self._memory
        if before is None or self.has_other_memory():
            before = self._read_memory = AllocationState.load(str(self._path))
        # what is allocated changes a Service, and it may be another address the next time
        filled = [_copy(s) if lacks(s) or s.metadata.generate_name else s for s in services]
        after = settings.allocate(filled, before)
        if after != before and self._keeps:
            own = not self._request.state
            Memory(path=self._path, before=before, after=after, in_own_folder=own).keep()
        self._memory, self._settings, self._read, self._services = after, settings, services, filled
        return filled


def _merged(inventories: Sequence[Inventory]) -> Inventory:
    """All of them as one. Raises SpecError where two define the same object differently."""
    whole = Inventory()
    if len(inventories) == 1:
        for name in _LISTS:
            setattr(whole, name, list(getattr(inventories[0], name)))
        whole.skipped = inventories[0].skipped
        return whole
    decoder = Decoder(whole)
    for inventory in inventories:
        whole.skipped += inventory.skipped
        for name, kind in _LISTS.items():
            for obj in _unnamed_again(getattr(inventory, name)):
                decoder.keep(kind, obj)
    return whole


def _unnamed_again(objects: Iterable[Object]) -> Iterable[Object]:
    """Objects whose name is made from a generateName are counted over all files."""
    for obj in objects:
        if obj.metadata.generate_name:
            obj = _copy(obj)
            obj.metadata.name = ""
        yield obj


def _copy(obj: _T) -> _T:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(obj), type=type(obj))
