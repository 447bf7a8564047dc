"""A packet's way through a node: hook by hook, chain by chain (the netfilter hooks of ip_rcv(),
ip_forward(), ip_local_deliver(), ip_local_out() and ip_output(); net/ipv4, net/ipv6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .chains import BaseChain, pass_through
from .outcome import ONE, Do, End, Ending
from .packet import Host, Packet, State

__all__ = ["Rules", "travel"]


class Rules:
    """All base chains of a node, of whatever table and tool, by hook in the order of their priorities."""

    def __init__(self, chains: Iterable[BaseChain]) -> None:
        self._by_hook: dict[str, list[BaseChain]] = {}
        for chain in sorted(chains, key=lambda chain: chain.priority):
            self._by_hook.setdefault(chain.hook, []).append(chain)

    def at(self, hook: str, version: int) -> list[BaseChain]:
        """The chains that a packet of IP `version` meets at `hook`, in order."""
        return [chain for chain in self._by_hook.get(hook, ()) if version in chain.versions]


def travel(rules: Rules, host: Host, packet: Packet) -> list[Ending]:
    """Every possible end of `packet`; their weights add up to 1.

    A packet without `iif` is the node's own.
    """
    journey = _Journey(rules, host)
    start = Ending(End.SENT, packet, ONE, ())
    if packet.iif:
        journey.arrive(start)
    else:
        journey.leave(start)
    return journey.ended


class _Journey:
    """The ways that are followed one after the other; `ended` are the ends so far."""

    def __init__(self, rules: Rules, host: Host) -> None:
        self._rules, self._host = rules, host
        self.ended: list[Ending] = []

    def arrive(self, way: Ending) -> None:
        """A packet comes in by an interface."""
        for received in self._hook("ingress", way):
            for now in self._hook("prerouting", received):
                self._route(now)

    def leave(self, way: Ending) -> None:
        """The node itself sends a packet."""
        for connected in self._hook("connect", way):
            self._output(connected)

    def _output(self, way: Ending) -> None:
        """It is routed before the hook, and again if that changed it."""
        oif = self._oif(way.packet.destination)
        if oif is None:
            self._end(End.NO_ROUTE, way)
            return
        routed = _with(way, oif=oif)
        for now in self._hook("output", routed):
            if now.packet.destination != way.packet.destination:
                oif = self._oif(now.packet.destination)
                if oif is None:
                    self._end(End.NO_ROUTE, now)
                    continue
                now = _with(now, oif=oif)
            self._postroute(now)

    def _send(self, way: Ending) -> None:
        """IPVS sends a packet on: from LOCAL_OUT, where its destination isn't translated again."""
        oif = self._oif(way.packet.destination)
        if oif is None:
            self._end(End.NO_ROUTE, way)
            return
        for now in self._hook("output", _with(way, iif="", oif=oif), first=False):
            self._postroute(now)

    def _route(self, way: Ending) -> None:
        packet = way.packet
        if self._host.is_local(packet.destination):
            for now in self._hook("input", way):
                self._end(End.DELIVERED, now)
            return
        oif = self._host.route(packet.destination)
        if oif is None:
            self._end(End.NO_ROUTE, way)
        elif not self._host.forwards(packet.version):
            self._end(End.NOT_FORWARDED, way)
        else:
            for now in self._hook("forward", _with(way, oif=oif)):
                self._postroute(now)

    def _postroute(self, way: Ending) -> None:
        for now in self._egress(self._hook("postrouting", way)):
            if self._host.is_local(now.packet.destination):
                self._loop(now)
            else:
                self._end(End.SENT, now)

    def _egress(self, ways: Iterable[Ending]) -> Iterable[Ending]:
        """What goes on after the hook that only the node's own packets meet (skb->ingress_ifindex)."""
        for way in ways:
            is_own = not way.packet.iif and not way.packet.ipvs
            yield from self._hook("egress", way) if is_own else (way,)

    def _loop(self, way: Ending) -> None:
        """What the node sends to itself comes in by ``lo``; conntrack has its connection already, unless eBPF
        has given it another destination.
        """
        back, first = _with(way, iif="lo", oif=""), way.packet.translated
        for now in self._hook("prerouting", back, first=first):
            for there in self._hook("input", now, first=first):
                self._end(End.DELIVERED, there)

    def _oif(self, destination: str) -> str | None:
        return "lo" if self._host.is_local(destination) else self._host.route(destination)

    def _end(self, end: End, way: Ending, reason: str = "") -> None:
        self.ended.append(Ending(end, way.packet, way.weight, way.steps, reason))

    def _hook(self, hook: str, way: Ending, *, first: bool = True) -> Sequence[Ending]:
        """The ways that go on after all chains of `hook`; the others have ended."""
        going = [way]
        for chain in self._rules.at(hook, way.packet.version):
            going = [after for now in going for after in self._chain(chain, now, first)]
        return going

    def _chain(self, chain: BaseChain, way: Ending, first: bool) -> Sequence[Ending]:
        """The ways that go on after `chain`.

        A chain of type nat sees a connection's first packet, until one has translated it (nf_nat_inet_fn()).
        """
        packet = way.packet
        if chain.nat:
            source = chain.hook in ("postrouting", "input")
            translated = packet.snat if source else packet.dnat
            if packet.state is not State.NEW or translated or not first:
                return [way]
        going = []
        for passage in pass_through(chain, packet, self._host):
            now = Ending(End.SENT, passage.packet, way.weight * passage.weight, (*way.steps, *passage.steps))
            match passage.verdict.what:
                case Do.ACCEPT:
                    going.append(now)
                case Do.DROP:
                    self._end(End.DROPPED, now)
                case Do.REJECT:
                    self._end(End.REJECTED, now)
                case Do.SENT:
                    self._end(End.SENT, now)
                case Do.SEND:
                    self._send(now)
                case _:
                    self._end(End.UNKNOWN, now, passage.verdict.detail)
        return going


def _with(way: Ending, **values: str) -> Ending:
    return msgspec.structs.replace(way, packet=way.packet.changed(**values))
