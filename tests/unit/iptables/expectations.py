"""What a Dataplane promises a packet, read off the IR without looking at any rule."""

from __future__ import annotations

import ipaddress
import random

import msgspec

from kcompile.ir.model import (
    Dataplane,
    Disposition,
    Frontend,
    FrontendKind,
    Policy,
    PoolKind,
    ResolvedPort,
    Verdict,
)

from .walker import Outcome, Packet

__all__ = ["expected", "packets", "with_any_policies"]

LOCAL = frozenset({"192.0.2.10", "198.51.100.7", "127.0.0.1", "2001:db8:1::10", "::1"})


def with_any_policies(rng: random.Random, dataplane: Dataplane) -> Dataplane:
    """`dataplane` with policies that no pass would make: a target must follow whatever it is told."""

    def disposition(port: ResolvedPort) -> Disposition:
        kinds = [kind for kind in PoolKind if port.pool(kind)]
        verdict = rng.choice([v for v in Verdict if v is not Verdict.DNAT or kinds])
        return (
            Disposition(verdict, rng.choice(kinds), rng.random() < 0.5)
            if verdict is Verdict.DNAT
            else Disposition(verdict)
        )

    def changed(port: ResolvedPort) -> ResolvedPort:
        frontends = []
        for f in port.frontends:
            host, others = disposition(port), disposition(port)
            pods = disposition(port) if dataplane.settings.detector.active(port.family.value) else others
            frontends.append(msgspec.structs.replace(f, policy=Policy(pods, host, others)))
        return msgspec.structs.replace(port, frontends=tuple(frontends))

    return msgspec.structs.replace(dataplane, ports=tuple(changed(p) for p in dataplane.ports))


def packets(rng: random.Random, dataplane: Dataplane, count: int) -> list[Packet]:
    """Packets to what is there and to what is nearly there, from all classes of source."""
    sources4 = (
        "10.244.0.5",
        "203.0.113.3",
        "203.0.113.77",
        "192.0.2.10",
        "198.51.100.7",
        "192.0.2.99",
        "10.244.0.1",
    )
    sources6 = ("fd00:10:244::5", "2001:db8:ffff::7", "2001:db8:1::10", "fd00:10:244::1")
    made = []
    for _ in range(count):
        port = rng.choice(dataplane.ports)
        frontend = rng.choice(port.frontends)
        six = port.family.value == 6
        nodes = (
            ("2001:db8:1::10", "::1", "2001:db8:9::9")
            if six
            else ("192.0.2.10", "198.51.100.7", "127.0.0.1", "8.8.8.8")
        )
        destination = frontend.address or rng.choice(nodes)
        if rng.random() < 0.1:
            destination = str(ipaddress.ip_address(destination) + 1)
        number = frontend.port if rng.random() < 0.8 else rng.choice((frontend.port ^ 1, 22))
        protocol = port.protocol.lower if rng.random() < 0.9 else rng.choice(("tcp", "udp", "sctp"))
        source = rng.choice(sources6 if six else sources4)
        if port.pool(PoolKind.CLUSTER) and rng.random() < 0.15:
            source = rng.choice(port.cluster).ip
        interface = "" if source in LOCAL else rng.choice(("eth0", "cbr0", "veth12", "cbr01"))
        if ipaddress.ip_address(destination).is_loopback:
            source, interface = destination, ""
        made.append(Packet(source, destination, protocol, number, interface, LOCAL))
    return made


def expected(dataplane: Dataplane, packet: Packet) -> set[Outcome]:
    """Every outcome that `packet` may have."""
    family = ipaddress.ip_address(packet.destination).version
    found = _listener(dataplane, packet, family)
    if found is None:
        return {_unclaimed(dataplane, packet)}
    port, frontend = found
    if frontend.source_ranges and not any(_in(packet.source, r) for r in frontend.source_ranges):
        return {Outcome("drop")}
    d = _disposition(dataplane, frontend.policy, packet, family)
    match d.verdict:
        case Verdict.DNAT:
            # a hairpin is known by its address alone: one port of a pod that may call itself speaks for its
            # others
            itself = packet.source in _hairpins(dataplane)
            return {
                Outcome("dnat", f"{b.ip}:{b.port}", d.masquerade or (itself and b.ip == packet.source))
                for b in port.pool(d.pool)
            }
        case Verdict.REJECT:
            return {Outcome("reject")}
        case Verdict.DROP:
            return {Outcome("drop")}
        case Verdict.PASS if frontend.kind is FrontendKind.CLUSTER_IP:
            return {_unclaimed(dataplane, packet)}
        case Verdict.PASS:
            return {Outcome("accept")}
    raise AssertionError(d)


def _hairpins(dataplane: Dataplane) -> set[str]:
    return {b.ip for p in dataplane.ports for b in (*p.cluster, *p.local) if b.hairpin}


def _listener(dataplane: Dataplane, packet: Packet, family: int) -> tuple[ResolvedPort, Frontend] | None:
    node_port = None
    for port in dataplane.ports:
        for frontend in port.frontends:
            if (port.family.value, port.protocol.lower, frontend.port) != (
                family,
                packet.protocol,
                packet.port,
            ):
                continue
            if frontend.address == packet.destination:
                return port, frontend
            if frontend.kind is FrontendKind.NODE_PORT and _answers(dataplane, packet, family):
                node_port = port, frontend
    return node_port


def _answers(dataplane: Dataplane, packet: Packet, family: int) -> bool:
    loopback = ipaddress.ip_address(packet.destination).is_loopback
    if loopback and (family == 6 or not dataplane.settings.compat.localhost_node_ports):
        return False
    addresses = dataplane.node.node_ports(family)
    return packet.is_local(packet.destination) if addresses is None else packet.destination in addresses


def _disposition(dataplane: Dataplane, policy: Policy, packet: Packet, family: int) -> Disposition:
    detector = dataplane.settings.detector
    if detector.interface:
        prefix = detector.mode.value == "InterfaceNamePrefix"
        pod = (
            packet.interface.startswith(detector.interface)
            if prefix
            else packet.interface == detector.interface
        )
    else:
        pod = bool(detector.cidr(family)) and _in(packet.source, detector.cidr(family))
    if pod:
        return policy.pods
    return policy.host if packet.is_local(packet.source) else policy.others


def _unclaimed(dataplane: Dataplane, packet: Packet) -> Outcome:
    """No port of any Service: only the compatibility record may have something to say, and not about what the
    node gets itself.
    """
    compat = dataplane.settings.compat
    forwarded = packet.own or not packet.is_local(packet.destination)
    owned = any(
        f.kind is FrontendKind.CLUSTER_IP and f.address == packet.destination
        for p in dataplane.ports
        for f in p.frontends
    )
    if forwarded and owned and compat.reject_unknown_ports:
        return Outcome("reject")
    in_service_cidr = any(_in(packet.destination, c) for c in dataplane.settings.service_cidrs)
    if forwarded and not owned and compat.drop_unallocated and in_service_cidr:
        return Outcome("drop")
    return Outcome("accept")


def _in(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
