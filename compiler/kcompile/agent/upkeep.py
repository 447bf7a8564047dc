"""Conntrack entries that changed ports leave behind: deleted after the rules are written, in one go for many
changes, and only where a change can have left any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..ir.model import Dataplane, Protocol, ResolvedPort
from ..kernel.conntrack import live_targets, purge, renew
from ..kernel.netlink import Sockets
from ..targets.base import Target

__all__ = ["Upkeep"]

_Place = tuple[str, Protocol, int]


class Upkeep:
    """What has to be looked at in conntrack, for a mode's `target`. `close` it."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._sockets = Sockets()
        self._gone: dict[_Place, ResolvedPort] = {}  # UDP ports as they were
        self._came: dict[_Place, ResolvedPort] = {}  # TCP and SCTP ports as they are

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return bool(self._gone or self._came)

    def note(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> None:
        """The ports `new` are in the place of `old`."""
        before = {_place(port): port for port in old}
        after = {_place(port): port for port in new}
        for place in before.keys() | after.keys():
            was, port = before.get(place), after.get(place)
            if place[1] is Protocol.UDP:
                known = was or port
                if known is not None and (port is None or _may_strand(was, port)):
                    self._gone.setdefault(place, known)
            elif port is None:
                self._came.pop(place, None)
            elif place in self._came or _may_strand(was, port):
                self._came[place] = port

    def run(self, udp: Dataplane, local: Sequence[str]) -> None:
        """Do it. `udp`: every UDP port there is now. `local`: the node's addresses. Raises KernelError."""
        if self._gone:
            purge(live_targets(udp), _past(self._gone.values()), local, self._sockets)
            self._gone.clear()
        if self._came and self._target.uses_conntrack:
            plane = msgspec.structs.replace(udp, ports=tuple(self._came.values()))
            renew(plane, local, self._target.translates_in_nat, self._sockets)
        self._came.clear()

    def close(self) -> None:
        """Close the sockets."""
        self._sockets.close()


def _place(port: ResolvedPort) -> _Place:
    return port.name, port.protocol, port.family.value


def _may_strand(was: ResolvedPort | None, port: ResolvedPort) -> bool:
    """Whether an unanswered connection can have passed no rule, or go to an endpoint that has gone."""
    if was is None or was.frontends != port.frontends:
        return True
    return not set(was.serving) <= set(port.serving)


def _past(ports: Iterable[ResolvedPort]) -> dict[tuple[int, str, int], frozenset[tuple[str, int]]]:
    """The frontends of `ports`, with the backends that they sent flows to."""
    found: dict[tuple[int, str, int], frozenset[tuple[str, int]]] = {}
    for port in ports:
        backends = frozenset((b.ip, b.port) for b in (*port.cluster, *port.local))
        for frontend in port.frontends:
            place = port.family.value, frontend.address or "*", frontend.port
            found[place] = found.get(place, frozenset()) | backends
    return found
