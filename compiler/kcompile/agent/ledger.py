"""When each Service was last written: what ``kcompile status`` says of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from ..ir.model import FrontendKind, ResolvedPort, Verdict
from .ports import Ports
from .record import ProgrammedService

__all__ = ["Ledger"]


class Ledger:
    """Written by the kernel thread, read by any."""

    def __init__(self) -> None:
        self._all_at = 0.0
        self._since: dict[str, tuple[float, float]] = {}  # (moment, lag) of those written since

    def wrote_all(self, moment: float) -> None:
        """Every Service was written, or found as it has to be. `moment`: epoch seconds."""
        self._all_at, self._since = moment, {}

    def wrote(self, services: Iterable[str], moment: float, lag: float) -> None:
        """These were written, `lag` seconds after the event."""
        self._since.update(dict.fromkeys(services, (moment, lag)))

    def rows(
        self,
        ports: Ports,
        errors: Mapping[str, tuple[str, float]],
        dirty: Collection[str],
        pending: float,
    ) -> list[ProgrammedService]:
        """One for each Service. `dirty`: those with a change that has waited, for `pending` seconds at
        most.
        """
        rows = []
        for name in sorted({*ports.services, *errors}):
            waiting = pending if name in dirty else 0.0
            rows.append(self._row(name, ports.of(name), errors, waiting))
        return rows

    def _row(
        self,
        name: str,
        ports: tuple[ResolvedPort, ...],
        errors: Mapping[str, tuple[str, float]],
        pending: float,
    ) -> ProgrammedService:
        at, lag = self._since.get(name, (self._all_at, 0.0))
        endpoints = {(b.ip, b.port) for port in ports for b in (*port.cluster, *port.local)}
        return ProgrammedService(
            service=name,
            frontends=sum(len(port.frontends) for port in ports),
            endpoints=len(endpoints),
            programmed_at=at if ports else 0.0,
            lag_seconds=lag,
            pending_seconds=pending,
            no_local_endpoints=_no_local(ports),
            error=errors.get(name, ("", 0.0))[0],
        )


def _no_local(ports: Iterable[ResolvedPort]) -> tuple[Literal["internal", "external"], ...]:
    """The policies that drop packets for want of a local endpoint."""
    dropped = {
        frontend.kind is FrontendKind.CLUSTER_IP
        for port in ports
        for frontend in port.frontends
        if frontend.policy.others.verdict is Verdict.DROP
    }
    found: list[Literal["internal", "external"]] = []
    if True in dropped:
        found.append("internal")
    if False in dropped:
        found.append("external")
    return tuple(found)
