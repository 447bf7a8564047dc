"""Deletes stale conntrack entries, which translate to a backend that the rules no longer use
(pkg/proxy/conntrack/cleanup.go).

UDP: packets from a client that keeps its port stay one flow, which new rules never see. After an apply that
changed UDP frontends, their flows are deleted unless their backend still serves; also for Services that lost
all endpoints or were deleted, unlike kube-proxy 1.36 (kubernetes/kubernetes#139628, #141371).

TCP and SCTP: retries of an unanswered connect() have the same port. If the first one came before the
Service's rules, or went to a removed endpoint, no retry could get through.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

import msgspec

from ..ir.model import Dataplane, FrontendKind, Protocol
from ..program import Program
from ..targets.base import Target as ServiceTarget
from . import ctnetlink
from .netlink import Sockets

__all__ = ["Flow", "Target", "live_targets", "past_targets", "purge", "renew", "stale"]

# (IP version, address or "*" for a NodePort, port) -> the backends ("ip", port) whose flows may stay
Target = tuple[int, str, int]

# conntrack's state of a connection that was not answered yet
_WAITING = {
    Protocol.TCP: (socket.IPPROTO_TCP, ctnetlink.SYN_SENT),
    Protocol.SCTP: (socket.IPPROTO_SCTP, ctnetlink.COOKIE_WAIT),
}


class Flow(msgspec.Struct, frozen=True):
    """One conntrack entry: the address that the client sent to, and the backend that answers."""

    version: int
    destination: tuple[str, int]
    answers: tuple[str, int]


def live_targets(
    dataplane: Dataplane, protocol: Protocol = Protocol.UDP
) -> dict[Target, frozenset[tuple[str, int]]]:
    """The frontends of `dataplane` that `protocol` has, with the endpoints that still serve each."""
    found: dict[Target, frozenset[tuple[str, int]]] = {}
    for port in dataplane.ports:
        if port.protocol is protocol:
            serving = frozenset(port.serving)
            for f in port.frontends:
                address = "*" if f.kind is FrontendKind.NODE_PORT else f.address
                found[(port.family.value, address, f.port)] = serving
    return found


def past_targets(target: ServiceTarget, program: Program) -> dict[Target, frozenset[tuple[str, int]]]:
    """The UDP frontends that `program` had, with the backends that it sent flows to."""
    if not any("udp" in str(key) or "udp" in str(value) for key, value in program.items()):
        return {}  # views of a big program take longer than this search for UDP
    found: dict[Target, frozenset[tuple[str, int]]] = {}
    for view in target.frontends(program):
        if view.protocol == "UDP":
            backends = []
            for backend in view.backends:
                ip, _, port = backend.rpartition(":")
                backends.append((ip.strip("[]"), int(port)))
            found[(view.family, view.address, view.port)] = frozenset(backends)
    return found


def stale(
    flow: Flow,
    live: Mapping[Target, frozenset[tuple[str, int]]],
    past: Mapping[Target, frozenset[tuple[str, int]]],
    local: frozenset[str],
) -> bool:
    """True if no frontend would translate `flow` this way now.

    `local`: the node's addresses, for NodePorts.
    """
    ip, port = flow.destination
    keys: list[Target] = [(flow.version, ip, port)]
    if ip in local:
        keys.append((flow.version, "*", port))
    for key in keys:
        if key in live:
            return flow.answers not in live[key]
    for key in keys:
        if key in past:  # the frontend is gone: only flows that it DNATed are stale
            return flow.answers in past[key]
    return False


def purge(
    live: Mapping[Target, frozenset[tuple[str, int]]],
    past: Mapping[Target, frozenset[tuple[str, int]]],
    local: Iterable[str],
    sockets: Sockets | None = None,
) -> int:
    """Delete the stale UDP flows of the current namespace; returns how many. One dump a family.

    `sockets`: to be used, and left open.
    """
    addresses = frozenset(local)
    versions = sorted({key[0] for key in (*live, *past)})
    gone = [
        entry
        for version in versions
        for entry in ctnetlink.entries(version, socket.IPPROTO_UDP, sockets=sockets)
        if stale(_flow(entry), live, past, addresses)
    ]
    return ctnetlink.delete(gone, sockets)


def renew(
    dataplane: Dataplane,
    local: Iterable[str],
    untranslated: bool = True,
    sockets: Sockets | None = None,
) -> int:
    """Delete unanswered connections to frontends of `dataplane` that don't go to a serving backend.

    Returns how many. The client's next retry is then the first packet of a connection, which the rules see.
    `untranslated`: also connections without DNAT. Not in mode ipvs: IPVS handles their retries anyway, and
    may have done so already; deleting such an entry would break the connection. `sockets`: as for `purge`.
    """
    addresses = frozenset(local)
    gone: list[ctnetlink.Entry] = []
    for protocol, (number, state) in _WAITING.items():
        versions = {p.family.value for p in dataplane.ports if p.protocol is protocol}
        waiting = [
            entry
            for version in sorted(versions)
            for entry in ctnetlink.entries(version, number, ctnetlink.SEEN_REPLY, sockets=sockets)
            if entry.state == state
        ]
        if waiting:
            live = live_targets(dataplane, protocol)
            for entry in waiting:
                flow = _flow(entry)
                if (untranslated or flow.answers != flow.destination) and stale(flow, live, {}, addresses):
                    gone.append(entry)
    return ctnetlink.delete(gone, sockets)


def _flow(entry: ctnetlink.Entry) -> Flow:
    original, reply = entry.original, entry.reply
    return Flow(
        entry.version,
        (entry.text(original.destination), int.from_bytes(original.destination_port)),
        (entry.text(reply.source), int.from_bytes(reply.source_port)),
    )
