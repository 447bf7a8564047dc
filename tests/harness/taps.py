"""Packet sockets that see what arrives in a namespace, so that a dropped packet and a misdelivered one can be
told apart.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from dataclasses import dataclass

from . import netns
from .listeners import REQUEST
from .loop import Loop
from .packets import IcmpError, Packet, parse

__all__ = ["Arrival", "Taps"]

_ETH_P_ALL = 3
_PACKET_HOST = 0


@dataclass(frozen=True)
class Arrival:
    """A connection's first packet, seen arriving in a namespace."""

    place: str
    packet: Packet

    def __str__(self) -> str:
        return f"{self.packet} at {self.place}"


class Taps:
    """What arrived since the last `clear`: first packets of connections, and ICMP errors."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.arrivals: list[Arrival] = []
        self.errors: list[IcmpError] = []

    def open(self, namespace: str, place: str, interface: str = "", *, arrivals: bool = True) -> None:
        """Watch `interface` (default: all) of `namespace`; `place` is what to call it in messages."""
        with netns.enter(namespace):
            sock = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, 0 if interface else socket.htons(_ETH_P_ALL)
            )
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            if interface:
                sock.bind((interface, _ETH_P_ALL))
        self._loop.add(sock, functools.partial(self._read, sock, place, arrivals))

    def _read(self, sock: socket.socket, place: str, arrivals: bool) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                data, address = sock.recvfrom(2048)
                if address[2] != _PACKET_HOST:
                    continue
                packet = parse(data)
                if isinstance(packet, IcmpError):
                    self.errors.append(packet)
                elif (
                    packet
                    and arrivals
                    and packet.opens
                    and (packet.proto != "UDP" or packet.payload == REQUEST)
                ):
                    self.arrivals.append(Arrival(place, packet))

    def clear(self) -> None:
        """Read what is still queued and forget everything."""
        self._loop.drain()
        self.arrivals.clear()
        self.errors.clear()
