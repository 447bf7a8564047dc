"""Firewall marks: they lead a packet to a virtual server that its address can't tell (__ip_vs_svc_fwm_find in
ip_vs_ctl.c).

NodePorts need one, for they answer on any local address; so do insiders of a frontend with
externalTrafficPolicy Local, who have a pool of their own. An ipset entry gives the mark and a virtual server
has it for its key. Only the first packet of a connection has it, from mangle PREROUTING or OUTPUT to nat
POSTROUTING.

    31..26   011011: ours
    25       masquerade whoever it is
    24       masquerade the host
    23       IPv6
    22       a NodePort (else a pool)
    21..0    without bits 13 to 15, which CNI plugins and kubelet use: two bits of protocol, then 16 of port
             and one of nothing, or a hash of the pool's name
"""

from __future__ import annotations

import hashlib

__all__ = ["EVERYBODY", "HOST", "Marks", "OURS", "OURS_MASK", "is_ours", "node_port_mark", "protocol_of"]

OURS, OURS_MASK = 0x6C000000, 0xFC000000
EVERYBODY, HOST = 1 << 25, 1 << 24
_SIX, _NODE_PORT = 1 << 23, 1 << 22
_LOW = 13
_SLOT_BITS = 17
_PROTOCOLS = ("tcp", "udp", "sctp", "")


def is_ours(mark: int) -> bool:
    return mark & OURS_MASK == OURS


def _spread(number: int) -> int:
    """19 bits around the three that others use."""
    return (number >> _LOW) << (_LOW + 3) | number & (1 << _LOW) - 1


def protocol_of(mark: int) -> str:
    """The protocol of the packets that carry `mark`, one of ours."""
    return _PROTOCOLS[mark >> 20 & 3]


def node_port_mark(version: int, protocol: str, port: int, masquerade: bool) -> int:
    """The mark of outsiders' packets to a NodePort."""
    number = _PROTOCOLS.index(protocol) << _SLOT_BITS | port
    return (
        OURS | (EVERYBODY if masquerade else 0) | (_SIX if version == 6 else 0) | _NODE_PORT | _spread(number)
    )


class Marks:
    """Gives each pool of insiders a mark that depends on its name, and on other names only where two hashes
    meet.
    """

    def __init__(self, version: int) -> None:
        self._base = OURS | HOST | (_SIX if version == 6 else 0)
        self._taken: dict[tuple[str, int], str] = {}

    def of(self, name: str, protocol: str) -> int:
        """The mark of `protocol`'s pool `name`; ask in the same order every time."""
        slots = 1 << _SLOT_BITS
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % slots
        while self._taken.setdefault((protocol, number), name) != name:
            number = (number + 1) % slots
        return self._base | _spread(_PROTOCOLS.index(protocol) << _SLOT_BITS | number)
