"""Random dataplanes lowered to every mode: where the packet model finds that one treats a packet unlike
another, apart from what docs/reference/modes.md says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import msgspec

from kcompile.ir.model import Dataplane, Protocol
from kcompile.ir.node import Link
from kcompile.program import Key
from kcompile.targets.base import Target
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.ipvs.target import IpvsTarget
from kcompile.targets.nftables.target import NftablesTarget
from kcompile.targets.xdp.target import XdpTarget
from kcompile.trace.journey import Rules, travel
from kcompile.trace.lowered import base_chains, host_with
from kcompile.trace.outcome import End, Ending
from kcompile.trace.packet import Host, Packet

from .random_dataplanes import random_dataplane

__all__ = ["differences"]

_PODS = {4: "10.244.0.{}", 6: "fd00:10:244::{:x}"}
_OUTSIDE = {4: ("203.0.113.3", "203.0.113.77", "198.51.100.9"), 6: ("2001:db8:9::9",)}
_NODE = {4: "192.0.2.10", 6: "2001:db8:1::10"}
_LINKS = (
    Link(name="lo", loopback=True),
    Link(name="eth0", addresses=tuple(_NODE.values())),
    Link(name="cbr0"),
    Link(name="veth1"),
)

_REJECTED = {("rejected", ""): Fraction(1)}
Fates = Mapping[tuple[Any, ...], Fraction]
"""What becomes of a packet: how likely it ends so, at this address and port, masqueraded or not."""


def differences(seed: int, packets: int = 60) -> Iterator[str]:
    """A line for each of `packets` random packets that two modes treat differently."""
    rng = random.Random(seed)
    dataplane = random_dataplane(rng, 5)
    node = msgspec.structs.replace(dataplane.node, links=_LINKS)
    dataplane = msgspec.structs.replace(dataplane, node=node)
    targets: list[Target] = [NftablesTarget(), IptablesTarget(), IpvsTarget(), XdpTarget()]
    worlds = {target.name: _world(target.lower(dataplane)) for target in targets}
    for _ in range(packets):
        packet = _packet(rng, dataplane)
        fates = {name: _fates(travel(rules, host, packet)) for name, (rules, host) in worlds.items()}
        first, *others = fates
        for name in others:
            if fates[name] != fates[first] and not (
                name == "ipvs" and _is_vip(packet, fates[first], fates[name])
            ):
                where = f"{packet} by {packet.iif or 'itself'}"
                yield f"seed {seed}: {where}: {first} {fates[first]}, {name} {fates[name]}"


def _is_vip(packet: Packet, others: Fates, ipvs: Fates) -> bool:
    """Whether mode ipvs rejects what others leave alone: its VIPs are addresses of the node."""
    untouched = {fate[1:3] for fate in others} == {(packet.destination, packet.port)}
    return untouched and ipvs == _REJECTED


def _world(program: Mapping[Key, Any]) -> tuple[Rules, Host]:
    return Rules(base_chains(program)), host_with(program, Host(addresses=frozenset(_NODE.values())))


def _packet(rng: random.Random, dataplane: Dataplane) -> Packet:
    """To a frontend, another port of its address, or an address near it; from anybody."""
    port = rng.choice(dataplane.ports)
    version = port.family.value
    frontend = rng.choice(port.frontends)
    destination = frontend.address or _NODE[version]
    number = frontend.port if rng.random() < 0.9 else 4242
    protocol = port.protocol if rng.random() < 0.9 else rng.choice(tuple(Protocol))
    # pods that are endpoints elsewhere send nothing here
    elsewhere = {backend.ip for backend in (*port.cluster, *port.local) if not backend.hairpin}
    pods = [_PODS[version].format(number) for number in range(1, 60)]
    pod = rng.choice([each for each in pods if each not in elsewhere])
    source, iif = rng.choice(
        [
            *[(outside, "eth0") for outside in _OUTSIDE[version]],
            *[(pod, iif) for iif in ("cbr0", "veth1")],
            (_NODE[version], ""),
        ]
    )
    return Packet(source=source, destination=destination, protocol=protocol.lower, port=number, iif=iif)


def _fates(endings: list[Ending]) -> Fates:
    fates: dict[tuple[Any, ...], Fraction] = {}
    for ending in endings:
        fate = _fate(ending)
        fates[fate] = fates.get(fate, Fraction(0)) + ending.weight
    return fates


def _fate(ending: Ending) -> tuple[Any, ...]:
    packet = ending.packet
    if ending.end not in (End.SENT, End.DELIVERED):
        return ending.end.value, ending.reason
    # masquerading takes the node's address: a packet from there looks the same
    masqueraded = packet.masqueraded or packet.source in _NODE.values()
    return ending.end.value, packet.destination, packet.port, masqueraded
