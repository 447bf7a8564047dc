"""The name server's side of the reader: takes in what changes, a little at a time, between answers."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Iterator

from ..agent.source import Source
from ..errors import InputError, KcompileError
from . import reader
from .answers import Answerer
from .collect import Wanted
from .records import Names

__all__ = ["Follower"]

_RESTART = 1.0  # seconds
_SLICE = 0.001  # seconds of work between two looks for questions
_PIECE, _MANY = 100, 1000  # names


class Follower:
    """Keeps the zones of `answerer` as `source` says. `warn` is told what doesn't work.

    The records of the last good state stay in force, also while the reader is started again.
    """

    def __init__(
        self,
        answerer: Answerer,
        source: Callable[[], Source],
        wanted: Wanted,
        warn: Callable[[str], None],
    ) -> None:
        self._answerer, self._source, self._wanted, self._warn = answerer, source, wanted, warn
        self._pid = 0
        self._stale: set[str] = set()
        self._young = 0  # names that have changed since the collector last forgot what is there
        self.failing: dict[str, str] = {}
        self.changes = 0
        self.changed = 0.0
        """When records were last changed, in seconds of the epoch; 0 before."""
        self.lags: list[float] = []
        """Seconds from the event of each change to its answers, since this was last emptied."""

    @property
    def ready(self) -> bool:
        """Whether there is something to answer from."""
        return self._answerer.ready

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow until cancelled. `ready` is called when the first state is complete.

        :raises KcompileError: where the source can't be read at all, before it was ready
        """
        try:
            while True:
                await self._read(ready)
                self._warn("the reader of the manifests has ended; it is started again")
                await asyncio.sleep(_RESTART)
        finally:
            if self._pid:
                reader.end(self._pid)

    async def _read(self, ready: Callable[[], None]) -> None:
        """Take in what one reader says, until it ends."""
        self._stale = set(self._answerer.zones.owners)
        self._pid, sock = reader.start(self._source, self._wanted)
        stream, writer = await asyncio.open_connection(sock=sock)
        try:
            while True:
                length = int.from_bytes(await stream.readexactly(reader.LENGTH))
                for _ in self.taking(reader.told(await stream.readexactly(length)), ready):
                    await asyncio.sleep(0)  # answers come first
                while self.ready and self._answerer.prepare(_SLICE):
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            reader.end(self._pid)
            self._pid = 0

    def taking(self, said: reader.Told, ready: Callable[[], None]) -> Iterator[None]:
        """Take in one message of the reader, a piece at a time. `ready` is called with the first that
        completes the state.

        :raises KcompileError: where the source can't be read at all, before it was ready
        """
        if said.text:
            self._warn(said.text)
        if said.fatal:
            if not self.ready:
                raise InputError(said.fatal) if said.is_input else KcompileError(said.fatal)
            self._warn(said.fatal)
        self.failing = said.failing or self.failing
        yield from self._change(said)
        if said.ready:
            self.failing = said.failing
            stale, self._stale = self._stale, set()  # what an earlier reader told, and this one doesn't
            yield from self._replace([(owner, None) for owner in stale])
            if not self.ready:
                self._answerer.ready = True
                gc.collect()
                gc.freeze()
                ready()

    def _change(self, said: reader.Told) -> Iterator[None]:
        if not said.changes:
            return
        self._stale.difference_update([change.owner for change in said.changes])
        yield from self._replace(said.changes)
        self.changes += len(said.changes)
        if self.ready:
            self.lags.append(time.monotonic() - said.moment)

    def _replace(self, changes: Iterable[tuple[str, Names | None]]) -> Iterator[None]:
        """Replace the records of each owner."""
        touched: set[str] = set()
        for owner, names in changes:
            for more in self._answerer.zones.changing(owner, names):
                touched |= more
                if len(touched) >= _PIECE:
                    self._date(touched)
                    touched = set()
                    yield
        self._date(touched)
        yield

    def _date(self, touched: set[str]) -> None:
        self.changed = time.time()
        zones = self._answerer.zones
        zones.serial = max(int(self.changed), zones.serial + (1 if self.ready else 0))
        self._answerer.changed(touched)
        self._young += len(touched)
        if self.ready and self._young > _MANY:
            self._young = 0  # nothing here is ever garbage of the kind that a collector looks for
            gc.collect(1)
            gc.freeze()
