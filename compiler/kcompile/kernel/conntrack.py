"""UDP flows that conntrack still sends to a backend that is gone (pkg/proxy/conntrack/cleanup.go).

A UDP client that keeps its port stays one conntrack flow, so new rules never see its packets. After an apply that touched UDP,
flows to a frontend are deleted unless the backend that answers them still serves. Unlike kube-proxy 1.36 this holds too for
Services that lost all endpoints or were deleted (kubernetes/kubernetes#139628, #141371).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..ir.model import Dataplane, FrontendKind, Protocol
from ..program import Program
from ..targets.base import Target as ServiceTarget

__all__ = ["Flow", "Target", "live_targets", "past_targets", "purge", "stale"]

# (IP version, address or "*" for a NodePort, port) -> the backends ("ip", port) whose flows may stay
Target = tuple[int, str, int]


class Flow(msgspec.Struct, frozen=True):
    """One conntrack entry: where the client sent to, and who answers."""

    version: int
    destination: tuple[str, int]
    answers: tuple[str, int]


def live_targets(dataplane: Dataplane) -> dict[Target, frozenset[tuple[str, int]]]:
    """The UDP frontends of `dataplane` with the endpoints that still serve each."""
    found: dict[Target, frozenset[tuple[str, int]]] = {}
    for port in dataplane.ports:
        if port.protocol is Protocol.UDP:
            serving = frozenset(port.serving)
            for f in port.frontends:
                address = "*" if f.kind is FrontendKind.NODE_PORT else f.address
                found[(port.family.value, address, f.port)] = serving
    return found


def past_targets(target: ServiceTarget, program: Program) -> dict[Target, frozenset[tuple[str, int]]]:
    """The UDP frontends that `program` had, with the backends that it sent flows to."""
    if not any("udp" in str(key) or "udp" in str(value) for key, value in program.items()):
        return {}  # the views of a big program cost more than this look at its text
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
    flow: Flow, live: Mapping[Target, frozenset[tuple[str, int]]], past: Mapping[Target, frozenset[tuple[str, int]]], local: frozenset[str]
) -> bool:
    """True when `flow` goes where no frontend would send it now. `local`: the node's addresses, for NodePorts."""
    ip, port = flow.destination
    keys: list[Target] = [(flow.version, ip, port)]
    if ip in local:
        keys.append((flow.version, "*", port))
    for key in keys:
        if key in live:
            return flow.answers not in live[key]
    for key in keys:
        if key in past:  # the frontend is gone: only what it had DNATed goes with it
            return flow.answers in past[key]
    return False


def purge(
    live: Mapping[Target, frozenset[tuple[str, int]]], past: Mapping[Target, frozenset[tuple[str, int]]], local: Iterable[str]
) -> int:
    """Delete the stale UDP flows of the current namespace; returns how many. One dump a family, through ctnetlink."""
    if not live and not past:
        return 0
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

    addresses = frozenset(local)
    deleted = 0
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        if not any(key[0] == version for key in (*live, *past)):
            continue
        with NFCTSocket(nfgen_family=family) as conntrack:
            for entry in list(conntrack.dump(tuple_orig=NFCTAttrTuple(family=family, proto=socket.IPPROTO_UDP))):
                original, reply = entry.get_attr("CTA_TUPLE_ORIG"), entry.get_attr("CTA_TUPLE_REPLY")
                flow = Flow(version, _end(original, version, "DST"), _end(reply, version, "SRC"))
                if stale(flow, live, past, addresses):
                    conntrack.entry("del", tuple_orig=NFCTAttrTuple.from_netlink(family, original))
                    deleted += 1
    return deleted


def _end(attributes: Any, version: int, side: str) -> tuple[str, int]:
    ip = attributes.get_attr("CTA_TUPLE_IP").get_attr(f"CTA_IP_V{version}_{side}")
    port = attributes.get_attr("CTA_TUPLE_PROTO").get_attr(f"CTA_PROTO_{side}_PORT")
    return ip, port
