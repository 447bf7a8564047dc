"""What ``kcompile status`` shows, as the objects that go over the agent's socket.

GET /status             AgentStatus
GET /debug/programmed   ProgrammedServiceList

Moments are RFC 3339, spans are seconds.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import msgspec

from ... import __version__
from ..record import Failure, Programmed, ProgrammedService, Record, SourceState, Sync
from .health import keeps_up

__all__ = [
    "API_VERSION",
    "SOCKET",
    "AgentStatus",
    "Drift",
    "Failed",
    "Followed",
    "LastSync",
    "ProgrammedServiceList",
    "ServiceStatus",
    "programmed_services",
    "status_of",
]

API_VERSION = "kcompile.dev/v1alpha1"
SOCKET = "agent.sock"
"""The name of the socket in a namespace's run directory."""


class _Sent(msgspec.Struct, frozen=True, rename="camel"):
    pass


class Followed(_Sent, frozen=True):
    """A kind of object, and since when it is in `state`: listing, watching or failing."""

    kind: str
    state: str
    since: datetime
    error: str = ""


class LastSync(_Sent, frozen=True):
    """The last successful sync: see record.Sync."""

    at: datetime
    seconds: float
    full: bool
    services: int
    changes: int


class Failed(_Sent, frozen=True):
    """A sync that failed, and the seconds until the next try."""

    at: datetime
    error: str
    retry_in_seconds: float


class Drift(_Sent, frozen=True):
    """How many resources were found different from what was written, when last, and examples of that time."""

    resources: int
    at: datetime
    examples: tuple[str, ...]


class AgentStatus(_Sent, frozen=True, kw_only=True):
    """The agent as a whole.

    `healthy`: as /livez. `ready`: the first sync is done. `pending_seconds`: how long the oldest change has
    waited that isn't programmed. `failing`: the last try, where it failed. `failed_services`: those that
    can't be programmed as their objects are now.
    """

    api_version: str = API_VERSION
    kind: str = "AgentStatus"
    version: str = __version__
    mode: str
    pid: int
    started: datetime
    uptime_seconds: float
    healthy: bool
    ready: bool
    node_eligible: bool
    pending_seconds: float
    services: int
    failed_services: int
    syncs: int
    sources: tuple[Followed, ...]
    last_sync: LastSync | None
    failing: Failed | None
    drift: Drift | None


class ServiceStatus(_Sent, frozen=True):
    """What the kernel holds of one Service: see record.ProgrammedService.

    `programmed_at`: None where it was never programmed.
    """

    service: str
    frontends: int
    endpoints: int
    programmed_at: datetime | None
    lag_seconds: float
    pending_seconds: float
    no_local_endpoints: tuple[str, ...]
    error: str


class ProgrammedServiceList(_Sent, frozen=True, kw_only=True):
    """`items` are sorted by name. They include Services that only have an error."""

    api_version: str = API_VERSION
    kind: str = "ProgrammedServiceList"
    items: tuple[ServiceStatus, ...]


def status_of(record: Record, agent: Programmed, limit: float) -> AgentStatus:
    """The agent's status now.

    :param limit: seconds that a change may wait before the agent is unhealthy
    """
    last, failure = record.last_sync, record.failure
    return AgentStatus(
        mode=agent.mode,
        pid=os.getpid(),
        started=_moment(record.started),
        uptime_seconds=round(time.time() - record.started, 3),
        healthy=keeps_up(record, limit),
        ready=last is not None,
        node_eligible=record.node_eligible,
        pending_seconds=round(record.pending_seconds or 0.0, 6),
        services=len(agent.programmed()),
        failed_services=len(record.errors),
        syncs=record.counts.syncs,
        sources=tuple([_followed(source) for source in record.sources]),
        last_sync=_last(last) if last else None,
        failing=_failed(failure) if failure else None,
        drift=_drift(record),
    )


def programmed_services(record: Record, agent: Programmed) -> ProgrammedServiceList:
    """What is programmed of each Service, and what can't be."""
    errors = record.errors
    items = [_service(service, errors.get(service.service, ("", 0.0))[0]) for service in agent.programmed()]
    known = {item.service for item in items}
    items += [_service(ProgrammedService(name, 0, 0, 0.0), errors[name][0]) for name in set(errors) - known]
    return ProgrammedServiceList(items=tuple(sorted(items, key=lambda item: item.service)))


def _service(one: ProgrammedService, error: str) -> ServiceStatus:
    return ServiceStatus(
        one.service,
        one.frontends,
        one.endpoints,
        _moment(one.programmed_at) if one.programmed_at else None,
        round(one.lag_seconds, 6),
        round(one.pending_seconds, 6),
        one.no_local_endpoints,
        one.error or error,
    )


def _followed(source: SourceState) -> Followed:
    return Followed(source.kind, source.state, _moment(source.since), source.error)


def _last(sync: Sync) -> LastSync:
    end = _moment(sync.started + sync.seconds)
    return LastSync(end, round(sync.seconds, 6), sync.full, sync.services, sync.changes)


def _failed(failure: Failure) -> Failed:
    return Failed(_moment(failure.moment), failure.error, round(failure.retry_in, 3))


def _drift(record: Record) -> Drift | None:
    last = record.last_drift
    return Drift(record.counts.drifted, _moment(last[0]), last[1]) if last else None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
