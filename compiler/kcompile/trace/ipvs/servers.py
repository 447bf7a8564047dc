"""Virtual servers, at the hooks where IPVS sees packets (net/netfilter/ipvs/ip_vs_core.c, ip_vs_ops4).

A packet that IPVS sends on to another node's real server leaves its hook, and starts at LOCAL_OUT anew; one
for a real server of this node goes on in its hook (ip_vs_nat_send_or_cont() in ip_vs_xmit.c).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from ...program import Key
from ...targets.ipvs.resources import FWMARK, RealServerKey, VirtualServerKey
from ..chains import BaseChain
from ..outcome import Action, Branch, Do, on
from ..packet import Host, Packet, State, canonical

__all__ = ["from_program", "from_save"]

# NF_IP_PRI_NAT_SRC - 1 and NF_IP_PRI_NAT_DST + 2: ip_vs_in() on LOCAL_IN and LOCAL_OUT
_PRIORITIES = {"input": 99, "output": -98}
_OPTIONS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp", "-f": FWMARK}
_PLACE = re.compile(r"\[?(.+?)\]?:(\d+)$")

_Real = tuple[str, int, int]  # address, port, weight
_Servers = Mapping[VirtualServerKey, list[_Real]]


class _Scheduling:
    """IPVS as one rule: it picks a real server for the first packet of a connection to a virtual one."""

    text = "IPVS"

    def __init__(self, servers: _Servers) -> None:
        self._servers = servers

    def run(self, packet: Packet, host: Host) -> list[Branch]:
        """A way for each real server, by weight: what schedulers do in the long run."""
        key = self._find(packet)
        if key is None or packet.ipvs:
            return [Branch(packet, on, matched=False)]
        if packet.state is not State.NEW:
            return [Branch(packet, Action(Do.UNKNOWN, "the real server of an open connection of IPVS"))]
        real = [each for each in self._servers[key] if each[2]]
        total = sum(weight for _, _, weight in real)
        if not total:
            return [Branch(packet, Action(Do.REJECT))]  # ip_vs_leave(): port unreachable
        return [
            Branch(_sent(packet, address, port), _next(host, address), Fraction(weight, total))
            for address, port, weight in real
        ]

    def _find(self, packet: Packet) -> VirtualServerKey | None:
        """Its virtual server: that of its mark first (ip_vs_service_find() in ip_vs_ctl.c)."""
        version, protocol = packet.version, packet.protocol
        for key in (
            VirtualServerKey(version, FWMARK, f"{packet.mark:#x}", 0),
            VirtualServerKey(version, protocol, packet.destination, packet.port),
        ):
            if key in self._servers:
                return key
        return None


def _sent(packet: Packet, address: str, port: int) -> Packet:
    return packet.changed(destination=address, port=port or packet.port, dnat=True, ipvs=True)


def _next(host: Host, address: str) -> Action:
    return Action(Do.ACCEPT if host.is_local(address) else Do.SEND)


def _chains(servers: _Servers) -> list[BaseChain]:
    if not servers:
        return []
    rule = _Scheduling(servers)
    return [
        BaseChain(name=f"IPVS {hook}", hook=hook, priority=priority, rules=(rule,), chains={})
        for hook, priority in _PRIORITIES.items()
    ]


def from_program(program: Mapping[Key, Any]) -> list[BaseChain]:
    """The virtual servers of a Program (targets/ipvs), as base chains."""
    servers: dict[VirtualServerKey, list[_Real]] = {
        key: [] for key in program if isinstance(key, VirtualServerKey)
    }
    for key, value in program.items():
        if isinstance(key, RealServerKey):
            servers[key.virtual_server].append((key.ip, key.real_port, value.weight))
    return _chains(servers)


def from_save(lines: Iterable[str]) -> list[BaseChain]:
    """The virtual servers of what ``ipvsadm --save --numeric`` prints, as base chains. Raises ValueError."""
    servers: dict[VirtualServerKey, list[_Real]] = {}
    for line in lines:
        command, *words = line.split()
        options = dict(itertools.pairwise(words))
        kind = next(option for option in _OPTIONS if option in options)
        key = _virtual(_OPTIONS[kind], options[kind], is_six="-6" in words)
        servers.setdefault(key, [])
        if command == "-a":
            address, port = _place(options["-r"])
            servers[key].append((address, port, int(options.get("-w", "1"))))
    return _chains(servers)


def _virtual(protocol: str, where: str, *, is_six: bool) -> VirtualServerKey:
    if protocol == FWMARK:
        return VirtualServerKey(6 if is_six else 4, FWMARK, f"{int(where):#x}", 0)
    address, port = _place(where)
    return VirtualServerKey(6 if ":" in address else 4, protocol, address, port)


def _place(text: str) -> tuple[str, int]:
    found = _PLACE.match(text)
    if not found:
        raise ValueError(f"no address and port: {text}")
    return canonical(found[1]), int(found[2])
