"""What the programs of bpf/ do to a packet, as base chains of three hooks that netfilter doesn't have:

connect   a socket of the node (sock.c)
ingress   what an interface receives (tc.c; XDP does the same, or leaves it to tc)
egress    what the node itself sends, on its way out of an interface (tc.c)

Backends of a pool are equally likely: the shares of Maglev's tables differ by a hundredth at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from ...program import Key
from ...targets.xdp.resources import ConfigKey, Listener, Member
from ..chains import BaseChain
from ..outcome import ONE, Action, Branch, Do, Rule, on
from ..packet import Host, Packet, State
from .tables import Tables, is_hairpin, is_martian

__all__ = ["from_program"]

_SOCKETS = {"tcp": ("tcp",), "all": ("tcp", "udp")}
_PARSED = ("tcp", "udp", "sctp", "icmp", "icmpv6")  # packet_parse() passes all others
_VERDICTS = {"drop": Action(Do.DROP), "reject": Action(Do.REJECT), "pass": on}
_OPEN = Action(Do.UNKNOWN, "what the eBPF maps hold of an open connection")


def from_program(program: Mapping[Key, Any]) -> list[BaseChain]:
    """The programs of a Program (targets/xdp), as base chains."""
    if ConfigKey() not in program:
        return []
    tables = Tables(program)
    rules: dict[str, Rule] = {
        "connect": _Sockets(tables),
        "ingress": _Packets(tables),
        "egress": _Packets(tables),
    }
    return [
        BaseChain(name=f"eBPF {hook}", hook=hook, priority=0, rules=(rule,), chains={})
        for hook, rule in rules.items()
    ]


class _Sockets:
    """connect() of a socket of the node (socket_translate4/6)."""

    text = "the programs of bpf/sock.c"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def run(self, packet: Packet, host: Host) -> list[Branch]:
        """A way for each backend; left to tc are affinity, source ranges, and what isn't translated."""
        tables = self._tables
        passes = [Branch(packet, on, matched=False)]
        wanted = packet.protocol in _SOCKETS.get(tables.config.sockets, ())
        if not wanted or not tables.attached(f"connect{packet.version}"):
            return passes
        listener = tables.frontend(packet)
        if listener is None or listener.ranges or listener.affinity:
            return passes
        verdict, pool, masquerade = _read(listener.host)
        source = tables.local(packet.source)
        members = tables.pool(listener, packet, pool)
        if verdict != "dnat" or not members or (masquerade and not (source and source.masquerade)):
            return passes
        return [
            Branch(
                _to(packet, member, masquerade=masquerade and not host.is_local(member.ip)),
                Action(Do.ACCEPT),
                Fraction(1, len(members)),
            )
            for member in members
        ]


class _Packets:
    """The first packet of a connection (process_packet in bpf/path.h)."""

    text = "the programs of bpf/tc.c"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def run(self, packet: Packet, host: Host) -> list[Branch]:
        """A way for each backend."""
        tables = self._tables
        hook, name = ("ingress", packet.iif) if packet.iif else ("egress", packet.oif)
        passes = [Branch(packet, on, matched=False)]
        if packet.protocol not in _PARSED or not tables.attached(hook, name):
            return passes
        listener = tables.frontend(packet)
        if packet.state is not State.NEW:
            is_ours = listener is not None or tables.serves(packet)
            return [Branch(packet, _OPEN)] if is_ours else passes
        if is_martian(packet.source):
            return passes
        if listener is None:
            action = self._without_frontend(packet)
            return passes if action is on else [Branch(packet, action)]
        if not tables.in_ranges(listener, packet):
            return [Branch(packet, Action(Do.DROP))]
        return self._decided(packet, listener, host)

    def _without_frontend(self, packet: Packet) -> Action:
        """decide_without_frontend(): other ports of a Service's address, and addresses that none has."""
        verdict = self._tables.other_ports(packet)
        if verdict:
            return _VERDICTS[verdict]
        return Action(Do.DROP) if self._tables.is_unallocated(packet) else on

    def _decided(self, packet: Packet, listener: Listener, host: Host) -> list[Branch]:
        verdict, pool, masquerade = _read(self._tables.disposition(listener, packet))
        if verdict != "dnat":
            return [Branch(packet, _VERDICTS[verdict])]
        members = self._tables.pool(listener, packet, pool)
        if not members:
            return [Branch(packet, Action(Do.REJECT))]
        share = ONE / len(members)
        return [self._sent(packet, member, host, share, masquerade=masquerade) for member in members]

    def _sent(
        self, packet: Packet, member: Member, host: Host, share: Fraction, *, masquerade: bool
    ) -> Branch:
        """decide_translation() and output_select(): to a process of this node by its stack, to others
        straight out of an interface.
        """
        tables, masquerade = self._tables, masquerade or is_hairpin(member, packet)
        if tables.local(member.ip) is not None:
            return Branch(_to(packet, member), Action(Do.ACCEPT), share)
        oif = host.route(member.ip) if host.forwards(packet.version) else None
        if oif is None:
            # the stack may know a route that the program can't look up, or answers
            action = Action(Do.DROP) if masquerade else Action(Do.ACCEPT)
            return Branch(_to(packet, member), action, share)
        if masquerade and not tables.masquerades(oif, packet.version):
            return Branch(packet, Action(Do.DROP), share)
        after = _to(packet, member, masquerade=masquerade).changed(oif=oif)
        return Branch(after, Action(Do.SENT), share)


def _read(words: str) -> tuple[str, str, bool]:
    """A disposition: its verdict, its pool, whether it masquerades."""
    verdict, *rest = words.split()
    return verdict, rest[0] if rest else "", "masquerade" in rest


def _to(packet: Packet, member: Member, *, masquerade: bool = False) -> Packet:
    return packet.changed(
        destination=member.ip,
        port=member.port,
        translated=True,
        masqueraded=packet.masqueraded or masquerade,
    )
