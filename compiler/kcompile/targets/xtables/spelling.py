"""How each IP family writes addresses and the few words in which the two differ.

Every spelling is the one that iptables-save and ipset save print, so that what is lowered compares equal to
what is read back.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from ...ir.model import Family

__all__ = ["SPELLINGS", "Spelling"]


class Spelling:
    """How one IP family writes addresses, and the few words in which the two differ."""

    def __init__(self, family: Family) -> None:
        v4 = family is Family.IPV4
        self.family = family
        self.version = family.value
        self.key = f"ip{family.value}"
        self.bits = family.bits
        self.host = f"/{family.bits}"
        self.loopback = "127.0.0.0/8" if v4 else "::1/128"
        self.recent_mask = "255.255.255.255" if v4 else "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        self.reject = "-j REJECT --reject-with " + (
            "icmp-port-unreachable" if v4 else "icmp6-port-unreachable"
        )
        self._af = socket.AF_INET if v4 else socket.AF_INET6

    def number(self, address: str) -> int:
        """`address` as a number, the key of a decision tree."""
        return int.from_bytes(socket.inet_pton(self._af, address))

    def address(self, number: int) -> str:
        """The canonical text of an address (inet_ntop(3), which iptables uses)."""
        if self.version == 4:
            return socket.inet_ntoa(struct.pack("!I", number))
        return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16))

    def canonical(self, address: str) -> str:
        """`address` as iptables-save prints it. IPv4 has one spelling only."""
        return (
            address if self.version == 4 else socket.inet_ntop(self._af, socket.inet_pton(self._af, address))
        )

    def network(self, cidr: str) -> str:
        """`cidr` (or a bare address) with its host bits cleared, as iptables-save prints it."""
        net = ipaddress.ip_network(cidr, strict=False)
        return f"{self.canonical(str(net.network_address))}/{net.prefixlen}"

    def contains(self, cidr: str) -> bool:
        """True when `cidr` is of this family."""
        return (":" in cidr) == (self.version == 6)

    def is_loopback(self, address: str) -> bool:
        return ipaddress.ip_address(address).is_loopback

    def destination(self, address: str, port: int) -> str:
        """The argument of --to-destination."""
        return f"{address}:{port}" if self.version == 4 else f"[{self.canonical(address)}]:{port}"


SPELLINGS = {family: Spelling(family) for family in Family}
