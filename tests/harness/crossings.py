"""Counts what the packets of one connection meet in the nftables rules of a Program: base chains, rules, and
look-ups in maps and sets.

It reads the rules as kcompile writes them, and knows no others. The kernel runs nat chains for the first
packet alone, and only until one of them translates it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from kcompile.targets.nftables.resources import ChainKey, ElementKey

__all__ = ["Count", "Flow", "NftablesWalk"]

_KEY = r"ip daddr \. meta l4proto \. th dport"
_PARTS = (
    ("state", r"ct state new"),
    ("dispatch", _KEY + r" vmap @(\S+)"),
    ("ports", r"meta l4proto \. th dport vmap @(\S+)"),
    ("local", r"fib daddr type( !=)? local"),
    ("loopback", r"ip daddr != 127\.0\.0\.0/8"),
    ("pair", r"ct status dnat ip saddr \. ip daddr @(\S+)"),
    ("set", r"ip daddr @(\S+)"),
    ("cidrs", r"ip daddr \{ (.+?) \}"),
    ("source", r"ip saddr != (\S+)"),
    ("mark", r"meta mark & \S+ != 0"),
    ("paint", r"meta mark set meta mark (?:\||\^) \S+"),
    ("dnat", r"dnat ip to .+ map @\S+"),
    ("masquerade", r"masquerade fully-random"),
    ("verdict", r"(reject|drop)"),
)
_READ = [(name, re.compile(pattern)) for name, pattern in _PARTS]


class Flow(NamedTuple):
    """A TCP connection that this node forwards, or has DNATed to be forwarded."""

    source: str
    destination: str
    port: int
    to_node: bool = False


class Count(NamedTuple):
    """Base chains (hooks), rules and look-ups."""

    chains: int
    rules: int
    lookups: int


class NftablesWalk:
    """The IPv4 rules of a Program."""

    def __init__(self, program) -> None:
        self._chains = {k.name: v for k, v in program.items() if isinstance(k, ChainKey) and k.family == "ip"}
        self._elements = {
            (k.map, k.key): v[0] for k, v in program.items() if isinstance(k, ElementKey) and k.family == "ip"
        }
        self._flow = Flow("", "", 0)
        self._rules = self._lookups = 0
        self._marked = self._translated = False

    def count(self, flow: Flow, first: bool) -> Count:
        """What a packet of `flow` meets on its way in, through and out."""
        self._flow, self._rules, self._lookups = flow, 0, 0
        self._marked = self._translated = False
        chains = 0
        for hook in ("prerouting", "forward", "postrouting"):
            translated = False
            for chain in self._base(hook):
                is_nat = chain.hook.startswith("nat ")
                if is_nat and (not first or translated):
                    continue
                chains += 1
                translated = self._run(chain, first) == "nat" or translated
        return Count(chains, self._rules, self._lookups)

    def _base(self, hook: str):
        found = [c for c in self._chains.values() if c.hook.split()[1:2] == [hook]]
        return sorted(found, key=lambda chain: int(chain.hook.split()[2]))

    def _run(self, chain, first: bool) -> str:
        for rule in chain.rules:
            self._rules += 1
            end = self._rule(rule.text, first)
            if end.startswith("goto "):
                return self._run(self._chains[end.removeprefix("goto ")], first)
            if end:
                return end
        return ""

    def _rule(self, text: str, first: bool) -> str:
        """The verdict of a rule; empty: none."""
        while text := text.strip():
            name, found = next((n, m) for n, p in _READ if (m := p.match(text)))
            text = text[found.end() :]
            end = self._part(name, found[1] or "" if found.re.groups else "", first)
            if end != "holds":
                return end
        return ""

    def _part(self, name: str, what: str, first: bool) -> str:
        """``holds``, a verdict, or nothing where the part doesn't match."""
        flow = self._flow
        self._lookups += name in ("dispatch", "ports", "local", "pair", "set", "cidrs", "dnat")
        match name:
            case "dispatch":
                return self._elements.get((what, f"{flow.destination} . tcp . {flow.port}"), "")
            case "ports":
                return self._elements.get((what, f"tcp . {flow.port}"), "")
            case "dnat" | "masquerade":
                self._translated = True
                return "nat"
            case "verdict":
                return what
        return "holds" if self._holds(name, what, first) else ""

    def _holds(self, name: str, what: str, first: bool) -> bool:
        flow, address = self._flow, ipaddress.ip_address
        match name:
            case "pair":
                pair = f"{flow.source} . {flow.destination}"
                return self._translated and (what, pair) in self._elements
            case "set":
                return (what, flow.destination) in self._elements
            case "cidrs":
                nets = [ipaddress.ip_network(net) for net in what.split(", ")]
                return any(address(flow.destination) in net for net in nets)
            case "source":
                return address(flow.source) not in ipaddress.ip_network(what)
            case "mark":
                return self._marked
            case "state":
                return first
            case "local":
                return flow.to_node is not bool(what)
            case "paint":
                self._marked = not self._marked
        return True
