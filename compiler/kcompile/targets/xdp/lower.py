"""Dataplane -> Program: one pass over the ports, then the node."""

from __future__ import annotations

import ipaddress
from typing import Any

from ...ir.model import Backend, Dataplane, Disposition, Family, FrontendKind, Protocol, ResolvedPort
from ...notices import Notice
from ...program import Key
from .attachments import attachments, fallbacks, interfaces
from .layout import CONSTANTS, SERVICE_CIDRS
from .maglev import size_for
from .resources import (
    AddressKey,
    Config,
    ConfigKey,
    FrontendKey,
    InterfaceKey,
    Listener,
    Local,
    LocalKey,
    Member,
    Pool,
    PoolKey,
    RangeKey,
    ServingKey,
    disposition_text,
)

__all__ = ["limits", "lower", "lower_node", "lower_port", "lower_shared", "stands"]

_CLUSTER, _LOCAL = CONSTANTS["BACKEND_CLUSTER"], CONSTANTS["BACKEND_LOCAL"]
_ON_NODE, _HAIRPIN = CONSTANTS["BACKEND_ON_NODE"], CONSTANTS["BACKEND_HAIRPIN"]


def limits(dataplane: Dataplane) -> list[Notice]:
    """Warnings for whatever of `dataplane` this mode leaves out or does differently."""
    notes = []
    for version in (family.value for family in Family):
        count = len(_guarded(dataplane, version))
        if count > SERVICE_CIDRS:
            most = f"mode xdp drops unallocated addresses in {SERVICE_CIDRS} IPv{version} service CIDRs"
            notes.append(Notice("xdp-limit", f"{most}, and there are {count}"))
    return [*notes, *fallbacks(dataplane)]


def lower(dataplane: Dataplane) -> dict[Key, Any]:
    """The Program; empty without Services, unallocated addresses to drop, and possibly open connections."""
    if not dataplane.ports and not stands(dataplane):
        return {}
    program = lower_shared(dataplane)
    for port in dataplane.ports:
        program.update(lower_port(port, dataplane))
    program.update(attachments(dataplane))
    return program


def stands(dataplane: Dataplane) -> bool:
    """Whether there is a Program even without a Service."""
    return bool(dataplane.standing) or any(_guarded(dataplane, family.value) for family in Family)


def lower_node(dataplane: Dataplane) -> dict[Key, Any]:
    """All resources that belong to no port."""
    return {**lower_shared(dataplane), **attachments(dataplane)}


def lower_shared(dataplane: Dataplane) -> dict[Key, Any]:
    """The resources that belong to no port, without attachments."""
    settings, node = dataplane.settings, dataplane.node
    cidrs = tuple(c for family in Family for c in _guarded(dataplane, family.value)[:SERVICE_CIDRS])
    random = settings.xdp.balance == "random"
    config = Config(settings.detector.cidr(4), settings.detector.cidr(6), cidrs, settings.xdp.sockets, random)
    program: dict[Key, Any] = {ConfigKey(): config}
    program.update(interfaces(dataplane))
    masquerading: set[str] = set()
    for key, value in program.items():
        if isinstance(key, InterfaceKey):
            masquerading |= {value.address4, value.address6}
    for family in Family:
        version = family.value
        own = [a for a in node.interfaces or node.addresses if (":" in a) is (version == 6)]
        answering = node.node_ports(version)
        for address in dict.fromkeys((*own, *(answering or ()))):
            answers = address in answering if answering is not None else True
            loopback = address == "::1" or (version == 4 and address.startswith("127."))
            program[LocalKey(version, address)] = Local(answers and not loopback, address in masquerading)
    return program


def lower_port(port: ResolvedPort, dataplane: Dataplane) -> dict[Key, Any]:
    """The resources of `port`.

    Ports share nothing but ``address`` resources.
    """
    settings = dataplane.settings
    program: dict[Key, Any] = {}
    if settings.compat.reject_unknown_ports:
        addresses = [f.address for f in port.frontends if f.kind is FrontendKind.CLUSTER_IP]
        program.update(
            dict.fromkeys([AddressKey(port.family.value, address) for address in addresses], "reject")
        )
    version, protocol = port.family.value, port.protocol.lower
    own = (version, protocol, port.name)
    random = settings.xdp.balance == "random"
    in_cluster, in_local = {(b.ip, b.port) for b in port.cluster}, {(b.ip, b.port) for b in port.local}

    def member(b: Backend) -> Member:
        at = b.ip, b.port
        flags = (_CLUSTER if at in in_cluster else 0) | (_LOCAL if at in in_local else 0)
        return Member(b.ip, b.port, flags | (_ON_NODE if b.local else 0) | (_HAIRPIN if b.hairpin else 0))

    for kind, backends in (("cluster", port.cluster), ("local", port.local)):
        if backends:
            program[PoolKey(*own, kind)] = Pool(
                size_for(len(backends), random), tuple([member(b) for b in backends])
            )
    if port.protocol is Protocol.UDP and (on := sorted({*port.serving}.difference(in_cluster, in_local))):
        program[ServingKey(*own)] = tuple(on)
    for frontend in port.frontends:
        policy = frontend.policy
        for cidr in frontend.source_ranges:
            program[RangeKey(*own, cidr)] = ""
        pods, host, others = _words(policy.pods), _words(policy.host), _words(policy.others)
        if frontend.kind is FrontendKind.CLUSTER_IP and settings.compat.reject_unknown_ports:
            # verdict PASS: the packet falls through to the address's rule for unknown ports (REJECT under
            # this compat setting)
            pods, host, others = ("reject" if words == "pass" else words for words in (pods, host, others))
        listener = Listener(
            port.name,
            frontend.kind.value,
            pods,
            host,
            others,
            port.affinity_seconds,
            bool(frontend.source_ranges),
        )
        program[FrontendKey(version, protocol, frontend.address, frontend.port)] = listener
    return program


_texts: dict[int, tuple[Disposition, str]] = {}


def _words(disposition: Disposition) -> str:
    # there are few dispositions, shared by passes/policy.py; the cache holds them, so that ids aren't reused
    found = _texts.get(id(disposition))
    if found is None or found[0] is not disposition:
        if len(_texts) > 1000:
            _texts.clear()
        found = _texts[id(disposition)] = (disposition, disposition_text(disposition))
    return found[1]


def _guarded(dataplane: Dataplane, version: int) -> list[str]:
    """The service CIDRs of a family whose unallocated addresses are dropped, neighbours joined."""
    settings = dataplane.settings
    own = [c for c in settings.service_cidrs if (":" in c) is (version == 6)]
    if not settings.compat.drop_unallocated or len(own) < 2:
        return own if settings.compat.drop_unallocated else []
    return [str(n) for n in ipaddress.collapse_addresses(ipaddress.ip_network(c) for c in own)]  # type: ignore[type-var]
