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

__all__ = [
    "EVERYBODY",
    "HOST",
    "OURS",
    "OURS_MASK",
    "Marks",
    "Pool",
    "is_ours",
    "node_port_mark",
    "protocol_of",
]

OURS, OURS_MASK = 0x6C000000, 0xFC000000
EVERYBODY, HOST = 1 << 25, 1 << 24
_SIX, _NODE_PORT = 1 << 23, 1 << 22
_LOW = 13
_SLOT_BITS = 17
_SLOTS = 1 << _SLOT_BITS
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


Pool = tuple[str, str, str]
"""A pool of insiders: the name of its port, its protocol, and which of the port's pools it is."""


class Marks:
    """Gives each pool of insiders a mark that depends on its name, and on other names only where two hashes
    meet: then the first by name has it, and the others the next free ones.

    Pools are in a hash table with linear probing. A pool that comes or goes moves none but those of its own
    run of neighbours.
    """

    def __init__(self, version: int) -> None:
        self._base = OURS | HOST | (_SIX if version == 6 else 0)
        self._slots: dict[tuple[str, int], Pool] = {}  # by protocol and number
        self._numbers: dict[Pool, int] = {}

    def __contains__(self, pool: Pool) -> bool:
        return pool in self._numbers

    def of(self, pool: Pool) -> int:
        """The mark of `pool`, which `add` has put here."""
        number = _PROTOCOLS.index(pool[1]) << _SLOT_BITS | self._numbers[pool]
        return self._base | _spread(number)

    def add(self, pool: Pool) -> set[Pool]:
        """Returns the pools that have another mark now."""
        return self._place(pool[1], self._run(pool[1], _home(pool)) | {pool}) - {pool}

    def remove(self, pool: Pool) -> set[Pool]:
        """Returns the pools that have another mark now."""
        number = self._numbers.pop(pool)
        run = self._run(pool[1], number)
        del self._slots[pool[1], number]
        return self._place(pool[1], run - {pool})

    def _run(self, protocol: str, number: int) -> set[Pool]:
        """The pools in the slots around `number`, up to the next free one on each side."""
        run: set[Pool] = set()
        for step in (1, -1):
            at = number
            while (pool := self._slots.get((protocol, at))) is not None:
                run.add(pool)
                at = (at + step) % _SLOTS
        return run

    def _place(self, protocol: str, run: set[Pool]) -> set[Pool]:
        """Put the pools of `run` into the table, the first by name first; returns those that have moved."""
        before = {pool: self._numbers.pop(pool) for pool in run if pool in self._numbers}
        for number in before.values():
            del self._slots[protocol, number]
        for pool in sorted(run):
            number = _home(pool)
            while (protocol, number) in self._slots:
                number = (number + 1) % _SLOTS
            self._slots[protocol, number] = pool
            self._numbers[pool] = number
        return {pool for pool, number in before.items() if self._numbers[pool] != number}


def _home(pool: Pool) -> int:
    """The first slot that `pool` asks for."""
    name, _, kind = pool
    return int.from_bytes(hashlib.sha256(f"{name}/{kind}".encode()).digest()[:4]) % _SLOTS
