"""What the agent has done and how its sources are: written by its two threads, read by the servers.

Moments are epoch seconds (time.time()), spans are seconds. Ages that decide something, such as how long a
change has waited, are taken from the monotonic clock, which nobody sets.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from .source import Kind

__all__ = [
    "Counts",
    "Failure",
    "Programmed",
    "ProgrammedService",
    "Record",
    "SourceState",
    "Sync",
]

_EXAMPLES = 5


class Sync(NamedTuple):
    """One time that the kernel was brought up to date.

    `started`: epoch seconds. `seconds`: from there to the end of the last write. `full`: all Services were
    looked at. `services`: how many were handled. `changes`: resources written. `triggers`: the epoch seconds
    of the last-change-trigger-time annotations that this sync made true. `waited`: seconds from the oldest
    event to the rules.
    """

    started: float
    seconds: float
    full: bool
    services: int
    changes: int
    triggers: tuple[float, ...] = ()
    waited: float = 0.0


class Failure(NamedTuple):
    """A sync failed at `moment`; the next try comes `retry_in` seconds after it."""

    moment: float
    error: str
    retry_in: float


class SourceState(msgspec.Struct, frozen=True, rename="camel"):
    """How a kind of object is followed, and since which moment."""

    kind: Kind
    state: Literal["listing", "watching", "failing"]
    since: float
    error: str = ""


class ProgrammedService(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What the kernel holds of one Service: a row of ``kcompile status``.

    `service`: ``namespace/name``. `frontends`: addresses and ports that it answers on. `endpoints`: those in
    use, each once. `programmed_at`: the moment of its last write, 0 before the first. `lag_seconds`: from the
    last change's event to its rules. `pending_seconds`: how long a change has waited that isn't in the kernel
    yet, 0 without any. `no_local_endpoints`: the policies that are Local and find no endpoint here.
    `error`: why the objects as they are now can't be programmed; the last good rules are in force then.
    """

    service: str
    frontends: int
    endpoints: int
    programmed_at: float
    lag_seconds: float = 0.0
    pending_seconds: float = 0.0
    no_local_endpoints: tuple[Literal["internal", "external"], ...] = ()
    error: str = ""


class Programmed(Protocol):
    """What servers ask the agent itself. Each call may come from the event loop at any time."""

    @property
    def mode(self) -> str:
        """The mode's name; empty before it is settled."""

    def programmed(self) -> list[ProgrammedService]:
        """The Services that are programmed, sorted by name."""

    def resources(self) -> int:
        """How many resources the kernel holds of the mode's Program."""


class Counts(msgspec.Struct):
    """What has happened since the start.

    `syncs` and `full_syncs`: successful ones. `changes`: resources written. `drifts`: times that the kernel
    differed from what was written, `drifted`: by how many resources in all. `events`: changes of objects that
    arrived, `pending`: those not programmed yet, by kind. `restarted`: watches opened again, by kind.
    """

    syncs: int = 0
    full_syncs: int = 0
    full_failures: int = 0
    partial_failures: int = 0
    changes: int = 0
    drifts: int = 0
    drifted: int = 0
    events: dict[Kind, int] = {}
    pending: dict[Kind, int] = {}
    restarted: dict[Kind, int] = {}


class Record:
    """The facts of one agent. Every method may be called from any thread."""

    def __init__(self) -> None:
        self.started = time.time()
        self._lock = threading.Lock()
        self._counts = Counts()
        self._listeners: list[Callable[[Sync], None]] = []
        self._bad: dict[str, tuple[str, float]] = {}
        self._sources: dict[Kind, SourceState] = {}
        self._last: Sync | None = None
        self._last_queued = 0.0
        self._failure: Failure | None = None
        self._last_error: Failure | None = None
        self._drift: tuple[float, tuple[str, ...]] | None = None
        self._eligible = True
        self.filling: dict[str, tuple[int, int]] = {}  # entries and room of mode xdp's maps of connections
        # Monotonic: the oldest and the newest change that no sync has programmed.
        self._oldest: float | None = None
        self._newest = 0.0
        self._arrived: dict[Kind, int] = {}  # those that came after the running sync began

    # ---- written by the agent

    def listen(self, listener: Callable[[Sync], None]) -> None:
        """Call `listener` after every sync, in the thread that reports it. It has to be quick."""
        self._listeners.append(listener)

    def queued(self, kind: Kind | None = None, changes: int = 1) -> None:
        """A sync is due: `changes` objects of `kind` have changed, or (None) something else has."""
        now = time.monotonic()
        with self._lock:
            self._last_queued = time.time()
            self._newest = now
            if self._oldest is None:
                self._oldest = now
            if kind is not None:
                counts = self._counts
                counts.events[kind] = counts.events.get(kind, 0) + changes
                counts.pending[kind] = counts.pending.get(kind, 0) + changes
                self._arrived[kind] = self._arrived.get(kind, 0) + changes

    def syncing(self) -> None:
        """A sync begins, with everything that was queued so far."""
        with self._lock:
            self._arrived.clear()

    def synced(self, sync: Sync) -> None:
        """A sync has succeeded. What was queued after it began is still pending."""
        began = time.monotonic() - sync.seconds
        with self._lock:
            self._last, self._failure = sync, None
            counts = self._counts
            counts.syncs += 1
            counts.full_syncs += sync.full
            counts.changes += sync.changes
            counts.pending = dict(self._arrived)
            if self._oldest is not None:
                self._oldest = max(self._oldest, began) if self._newest > began else None
        for listener in self._listeners:
            listener(sync)

    def failed(self, error: str, retry_in: float, *, full: bool = True) -> None:
        """A sync has failed, and is tried again in `retry_in` seconds. It is pending until it succeeds."""
        with self._lock:
            self._failure = self._last_error = Failure(time.time(), error, retry_in)
            self._counts.full_failures += full
            self._counts.partial_failures += not full
            if self._oldest is None:
                self._oldest = self._newest = time.monotonic()

    def bad(self, service: str, error: str) -> None:
        """`service` (``namespace/name``) can't be programmed as its objects are now."""
        with self._lock:
            known = self._bad.get(service)
            if known is None or known[0] != error:
                self._bad[service] = (error, time.time())

    def good(self, service: str) -> None:
        """`service` can be programmed, or is gone."""
        with self._lock:
            self._bad.pop(service, None)

    def source(self, kind: Kind, state: Literal["listing", "watching", "failing"], error: str = "") -> None:
        """How `kind` is followed now."""
        with self._lock:
            known = self._sources.get(kind)
            if known is None or (known.state, known.error) != (state, error):
                self._sources[kind] = SourceState(kind, state, time.time(), error)

    def restarted_watch(self, kind: Kind) -> None:
        """A watch of `kind` ended, and another one is open."""
        with self._lock:
            self._counts.restarted[kind] = self._counts.restarted.get(kind, 0) + 1

    def drift(self, count: int, examples: Sequence[str] = ()) -> None:
        """`count` resources in the kernel were other than written, such as `examples`."""
        with self._lock:
            self._counts.drifts += 1
            self._counts.drifted += count
            self._drift = (time.time(), tuple(examples[:_EXAMPLES]))

    def node(self, *, eligible: bool) -> None:
        """Whether load balancers may send to this node: false when it is being deleted."""
        with self._lock:
            self._eligible = eligible

    # ---- read by the servers

    @property
    def counts(self) -> Counts:
        """A copy."""
        with self._lock:
            held = self._counts
            return msgspec.structs.replace(
                held, events=dict(held.events), pending=dict(held.pending), restarted=dict(held.restarted)
            )

    @property
    def sources(self) -> list[SourceState]:
        """In the order in which they were first heard of."""
        with self._lock:
            return list(self._sources.values())

    @property
    def errors(self) -> dict[str, tuple[str, float]]:
        """Services that can't be programmed: why, and since which moment."""
        with self._lock:
            return dict(self._bad)

    @property
    def last_sync(self) -> Sync | None:
        """The last successful one."""
        return self._last

    @property
    def failure(self) -> Failure | None:
        """Set from a failed sync to the next successful one."""
        return self._failure

    @property
    def last_error(self) -> Failure | None:
        """The last failed sync, also when another has succeeded since."""
        return self._last_error

    @property
    def last_drift(self) -> tuple[float, tuple[str, ...]] | None:
        """When the kernel was last found to differ, with up to five examples."""
        return self._drift

    @property
    def last_queued(self) -> float:
        """The moment of the newest change, 0 before the first."""
        return self._last_queued

    @property
    def pending_seconds(self) -> float | None:
        """How long the oldest change has waited that isn't programmed; None when all are."""
        with self._lock:
            return None if self._oldest is None else time.monotonic() - self._oldest

    @property
    def node_eligible(self) -> bool:
        """See `node`."""
        return self._eligible
