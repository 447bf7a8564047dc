"""A packet and what the kernel knows about its connection."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

__all__ = ["PROTOCOLS", "Host", "Packet", "Set", "State", "canonical"]

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
"""Names of protocols, as rules spell them, and their numbers (IANA)."""


class State(enum.StrEnum):
    """A connection's state, in conntrack's words (nf_conntrack_common.h)."""

    NEW = "new"
    ESTABLISHED = "established"
    RELATED = "related"
    INVALID = "invalid"
    UNTRACKED = "untracked"


def canonical(address: str) -> str:
    """`address` in its shortest spelling. Raises ValueError for what isn't an address."""
    return ipaddress.ip_address(address).compressed


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """One packet. Addresses are canonical; protocols are iptables' names, lower case.

    `iif`: the interface that it came in by, empty for what the node itself sends; `oif`: the one that it
    leaves by, once it is routed. `dnat` and `snat`: its connection's destination or source is translated
    (conntrack's status). `masqueraded`: the new source is the address of the outgoing interface. `ipvs`: IPVS
    has handled it (skb->ipvs_property). `translated`: eBPF has given it a backend, of which conntrack knows
    nothing.
    """

    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 0
    source_port: int = 40000
    iif: str = ""
    oif: str = ""
    mark: int = 0
    state: State = State.NEW
    dnat: bool = False
    snat: bool = False
    masqueraded: bool = False
    ipvs: bool = False
    translated: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.destination else 4

    def changed(self, **values: object) -> Packet:
        """The packet with other values in some fields."""
        return msgspec.structs.replace(self, **values)

    def __str__(self) -> str:
        destination = f"[{self.destination}]" if self.version == 6 else self.destination
        return f"{self.protocol.upper()} {self.source} -> {destination}:{self.port}"


class Set(Protocol):
    """A set of addresses, ports and the like that rules ask by name."""

    def find(self, packet: Packet, directions: str) -> str | None:
        """The options of the element that `packet` matches, None without one."""
        ...


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk must know of the node beside its rules.

    `addresses`: all that the node has, canonical. `route`: the interface by which a packet to an address
    leaves, None where there is no route. `forwards`: False where the node forwards nothing of this version.
    `sets`: ipsets by name.
    """

    addresses: frozenset[str]
    route: Callable[[str], str | None] = lambda _: "eth0"
    forwards: Callable[[int], bool] = lambda _: True
    sets: Mapping[str, Set] = {}

    def is_local(self, address: str) -> bool:
        """True for an address of type LOCAL (the kernel's fib): the node's own, and loopback."""
        return address in self.addresses or ipaddress.ip_address(address).is_loopback
