"""Walks a new connection's first packet through a Program as the kernel would: the oracle of the iptables
tests.

Chance is walked both ways, so an outcome names every backend that may be chosen. What the walk needs beside
the rules (input interface, whether an address is local) comes with the packet.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, replace

from kcompile.targets.iptables.rules import Rule
from kcompile.targets.xtables.keys import ChainKey, JumpKey

__all__ = ["Outcome", "Packet", "Walker"]

Condition = Callable[["Packet"], bool]


@functools.cache
def _read(text: str) -> tuple[Rule, tuple[Condition, ...]]:
    """A rule, and what a packet must be for it to match. Read once: thousands of packets look at it."""
    rule = Rule.parse(text)
    return rule, _conditions(rule)


@dataclass(frozen=True)
class Packet:
    """`local`: the addresses that the node has. `interface` is empty for a packet of the node itself.

    `state`: conntrack's; nat sees NEW alone.
    """

    source: str
    destination: str
    protocol: str
    port: int
    interface: str = "eth0"
    local: frozenset[str] = frozenset()
    mark: int = 0
    dnat: bool = False
    state: str = "NEW"

    @property
    def own(self) -> bool:
        return not self.interface

    def is_local(self, address: str) -> bool:
        return address in self.local or _is_loopback(address)


@dataclass(frozen=True)
class Outcome:
    """`verdict`: dnat, reject, drop or accept; with dnat the backend, and if the source is masqueraded."""

    verdict: str
    backend: str = ""
    masquerade: bool = False


class Walker:
    """A Program of one family, ready to be walked.

    `steps` counts the rules that the longest walk so far has looked at.
    """

    def __init__(self, program, family: str) -> None:
        self.chains = {
            (k.table, k.name): [_read(t) for t in v]
            for k, v in program.items()
            if isinstance(k, ChainKey) and k.family == family
        }
        for key in program:
            if isinstance(key, JumpKey) and key.family == family:
                self.chains.setdefault((key.table, key.hook), []).append(_read(key.rule))
        self.steps = 0

    def outcomes(self, packet: Packet) -> set[Outcome]:
        return {self._routed(after) for after in self.after_nat(packet)}

    def crossings(self, packet: Packet) -> tuple[int, int]:
        """How many hooks with rules a forwarded `packet` meets, and how many rules at most."""
        hooks = rules = 0
        if packet.state == "NEW":
            (after,) = {replace(p, destination="", port=0) for p in self.after_nat(packet)}
            hooks, rules = 1, self.steps
            packet = replace(packet, mark=after.mark, dnat=after.dnat)
        for table, hook in (("filter", "FORWARD"), ("nat", "POSTROUTING")):
            if (table, hook) in self.chains and (table == "filter" or packet.state == "NEW"):
                self.steps = 0
                self._walk(table, hook, packet)
                hooks, rules = hooks + 1, rules + self.steps
        return hooks, rules

    def after_nat(self, packet: Packet) -> list[Packet]:
        """What `packet` may have become when it is routed."""
        return [after for _, after in self._walk("nat", "OUTPUT" if packet.own else "PREROUTING", packet)]

    def _routed(self, packet: Packet) -> Outcome:
        local = packet.is_local(packet.destination)
        hooks = [
            hook
            for hook, seen in (
                ("OUTPUT", packet.own),
                ("INPUT", local),
                ("FORWARD", not packet.own and not local),
            )
            if seen
        ]
        for hook in hooks:
            verdict = self._filter(hook, packet)
            if verdict != "accept":
                return Outcome(verdict)
        if not packet.dnat:
            return Outcome("accept")
        return Outcome("dnat", f"{packet.destination}:{packet.port}", self._masqueraded(packet))

    def _filter(self, hook: str, packet: Packet) -> str:
        ends = self._walk("filter", hook, packet)
        (end,) = {target for target, _ in ends}  # the filter table leaves nothing to chance
        return end

    def _masqueraded(self, packet: Packet) -> bool:
        (end,) = self._walk("nat", "POSTROUTING", packet)
        return end[0] == "masquerade"

    def _walk(self, table: str, hook: str, packet: Packet) -> set[tuple[str, Packet]]:
        """Every (end, packet after it), by all outcomes of chance.

        Deterministic ends: accept, reject, drop, masquerade.
        """
        ends: set[tuple[str, Packet]] = set()
        pending = [([(hook, 0)], packet, 0)]
        while pending:
            stack, now, steps = pending.pop()
            self._run(table, stack, now, steps, pending, ends)
        return ends

    def _run(self, table, stack, packet, steps, pending, ends) -> None:
        """`stack` holds (chain, next rule), the running chain last.

        A goto takes its own chain off the stack.
        """
        stack = list(stack)
        while stack:
            name, at = stack.pop()
            rules = self.chains.get((table, name), [])
            if at >= len(rules):
                continue
            rule, conditions = rules[at]
            steps += 1
            self.steps = max(self.steps, steps)
            stack.append((name, at + 1))
            if not all(holds(packet) for holds in conditions):
                continue
            if rule.recent and rule.recent.seconds:
                continue  # a source that was never here
            if rule.probability:
                pending.append((list(stack), packet, steps))  # the dice say no
            match rule.target:
                case "ACCEPT" | "DROP" | "REJECT" | "MASQUERADE":
                    ends.add((rule.target.lower(), packet))
                    return
                case "RETURN":
                    stack.pop()
                case "MARK":
                    value, mask = (int(x, 16) for x in rule.set_mark.split("/"))
                    packet = replace(packet, mark=(packet.mark & ~mask) ^ value)
                case "DNAT":
                    address, _, port = rule.to_destination.rpartition(":")
                    ends.add(
                        (
                            "accept",
                            replace(packet, destination=address.strip("[]"), port=int(port), dnat=True),
                        )
                    )
                    return
                case chain:
                    assert (table, chain) in self.chains, f"{chain} does not exist"
                    if rule.goto:
                        stack.pop()
                    stack.append((chain, 0))
        ends.add(("accept", packet))


def _conditions(rule: Rule) -> tuple[Condition, ...]:
    asked = [
        (rule.source, _is_source),
        (rule.destination, _is_destination),
        (rule.interface, _is_interface),
        (rule.protocol, lambda packet, v: packet.protocol == v),
        (rule.source_type, lambda packet, v: packet.is_local(packet.source) is (v == "LOCAL")),
        (rule.destination_type, lambda packet, v: packet.is_local(packet.destination) is (v == "LOCAL")),
        (rule.states, _has_state),
        (rule.mark, _has_mark),
    ]
    made = [_condition(value, holds) for value, holds in asked if value]
    if rule.ports is not None:
        first, last = rule.ports
        made.append(lambda packet: first <= packet.port <= last)
    return tuple(made)


def _condition(value: str, holds: Callable[[Packet, str], bool]) -> Condition:
    wanted = not value.startswith("! ")
    value = value.removeprefix("! ")
    return lambda packet: holds(packet, value) is wanted


def _is_source(packet: Packet, network: str) -> bool:
    return _inside(packet.source, network)


def _is_destination(packet: Packet, network: str) -> bool:
    return _inside(packet.destination, network)


def _is_interface(packet: Packet, name: str) -> bool:
    return packet.interface.startswith(name[:-1]) if name.endswith("+") else packet.interface == name


def _has_state(packet: Packet, states: str) -> bool:
    return bool({packet.state, *(["DNAT"] if packet.dnat else [])} & set(states.split(",")))


def _has_mark(packet: Packet, mark: str) -> bool:
    value, mask = mark.split("/")
    return packet.mark & int(mask, 16) == int(value, 16)


@functools.cache
def _inside(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


@functools.cache
def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
