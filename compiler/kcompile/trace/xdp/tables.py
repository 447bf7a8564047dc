"""What the maps of mode xdp say, by the keys of a Program: lowered, or read back from a kernel."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ...program import Key
from ...targets.xdp.layout import CONSTANTS
from ...targets.xdp.resources import (
    ROOT_CGROUP,
    AddressKey,
    AttachKey,
    Config,
    ConfigKey,
    FrontendKey,
    Interface,
    InterfaceKey,
    Listener,
    Local,
    LocalKey,
    Member,
    Pool,
    PoolKey,
    RangeKey,
)
from ..packet import Packet

__all__ = ["Tables", "is_hairpin", "is_martian"]

_THIS_NETWORK, _LOOPBACK, _MULTICAST = 0, 127, 224  # first octets
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Tables:
    """A Program, asked as bpf/select.h asks its maps."""

    def __init__(self, program: Mapping[Key, Any]) -> None:
        self._program = program
        self.config: Config = program[ConfigKey()]
        self._guarded = _networks(self.config.service_cidrs)
        self._pods = _networks([cidr for cidr in (self.config.pods4, self.config.pods6) if cidr])
        self._ranges: dict[tuple[int, str, str], list[_Network]] = {}
        for key in program:
            if isinstance(key, RangeKey):
                self._ranges.setdefault((key.version, key.protocol, key.service), []).extend(
                    _networks([key.cidr])
                )

    def attached(self, hook: str, name: str = ROOT_CGROUP) -> bool:
        """Whether the program for `hook` is on the interface, or on the root of all cgroups."""
        return AttachKey(hook, name) in self._program

    def frontend(self, packet: Packet) -> Listener | None:
        """The frontend at the destination: a Service's address, or a NodePort at one of the node's."""
        version, protocol, port = packet.version, packet.protocol, packet.port
        found: Listener | None = self._program.get(FrontendKey(version, protocol, packet.destination, port))
        if found is None and (local := self.local(packet.destination)) is not None and local.node_ports:
            found = self._program.get(FrontendKey(version, protocol, "", port))
        return found

    def disposition(self, listener: Listener, packet: Packet) -> str:
        """The words for the packet's source: a pod of this node, the node itself, or anyone else."""
        if _within(packet.source, self._pods):
            return listener.pods
        if not packet.iif:
            return listener.host
        interface = self.interface(packet.iif)
        return listener.pods if interface is not None and interface.pods else listener.others

    def in_ranges(self, listener: Listener, packet: Packet) -> bool:
        """Whether the source may reach the Service (loadBalancerSourceRanges)."""
        own = packet.version, packet.protocol, listener.service
        return not listener.ranges or _within(packet.source, self._ranges.get(own, ()))

    def pool(self, listener: Listener, packet: Packet, name: str) -> tuple[Member, ...]:
        """The backends of the Service's pool `name`."""
        key = PoolKey(packet.version, packet.protocol, listener.service, name)
        pool: Pool | None = self._program.get(key)
        return pool.members if pool is not None else ()

    def other_ports(self, packet: Packet) -> str:
        """The verdict for ports of the destination that no Service has; empty without one."""
        return str(self._program.get(AddressKey(packet.version, packet.destination), ""))

    def is_unallocated(self, packet: Packet) -> bool:
        """Whether the destination could be a Service's address, and is none's."""
        return _within(packet.destination, self._guarded) and self.local(packet.destination) is None

    def local(self, address: str) -> Local | None:
        """An address of the node."""
        found: Local | None = self._program.get(LocalKey(6 if ":" in address else 4, address))
        return found

    def interface(self, name: str) -> Interface | None:
        """What the programs know of an interface."""
        found: Interface | None = self._program.get(InterfaceKey(name))
        return found

    def masquerades(self, name: str, version: int) -> bool:
        """Whether an interface has an address to masquerade with."""
        interface = self.interface(name)
        return interface is not None and bool(interface.address4 if version == 4 else interface.address6)

    def serves(self, packet: Packet) -> bool:
        """Whether the packet's source is a backend: it may be an answer, which is translated back."""
        source = packet.source, packet.source_port
        return any(
            source in {(member.ip, member.port) for member in value.members}
            for key, value in self._program.items()
            if isinstance(key, PoolKey) and key.protocol == packet.protocol
        )


def is_hairpin(member: Member, packet: Packet) -> bool:
    """Whether the packet's own source serves it."""
    return bool(member.flags & CONSTANTS["BACKEND_HAIRPIN"]) and member.ip == packet.source


def is_martian(address: str) -> bool:
    """Whether no host can have the address (address_is_martian in bpf/address.h)."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        first = parsed.packed[0]
        return first in (_THIS_NETWORK, _LOOPBACK) or first >= _MULTICAST
    return parsed.is_multicast or not any(parsed.packed[:12])


def _networks(cidrs: Iterable[str]) -> list[_Network]:
    return [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs]


def _within(address: str, networks: Iterable[_Network]) -> bool:
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks)
