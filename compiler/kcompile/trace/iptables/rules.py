"""A rule of iptables: its options, as iptables-save prints them, and what it does to a packet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from ..outcome import ONE, Action, Branch, Do, on
from ..packet import Host, Packet
from .matches import MATCHES, Match, Unreadable

__all__ = ["IptablesRule"]

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPED = re.compile(r"\\(.)")
_FLAGS = frozenset(
    [
        "--random-fully",
        "--random",
        "--reap",
        "--rsource",
        "--rcheck",
        "--update",
        "--set",
        "--notrack",
        "--map-mark",
    ]
)
_TWO_VALUES = frozenset(("--match-set", "--map-set"))
_MODULES = frozenset(
    [
        "tcp",
        "udp",
        "sctp",
        "multiport",
        "addrtype",
        "comment",
        "conntrack",
        "state",
        "mark",
        "statistic",
        "recent",
        "set",
    ]
)
# Options that change nothing for the walk: names, comments, how a random port is chosen.
_SILENT = frozenset(
    [
        "--comment",
        "--mode",
        "--packet",
        "--name",
        "--mask",
        "--seconds",
        "--hitcount",
        "--random-fully",
        "--random",
        "--reap",
        "--rsource",
        "--set",
        "--notrack",
    ]
)
_TARGET_OPTIONS = frozenset(
    [
        "--to-destination",
        "--to-source",
        "--to-ports",
        "--reject-with",
        "--set-xmark",
        "--set-mark",
        "--or-mark",
        "--and-mark",
        "--xor-mark",
        "--log-prefix",
        "--log-level",
        "--nflog-group",
        "--nflog-prefix",
        "--map-set",
        "--map-mark",
    ]
)
_VERDICTS = {
    "ACCEPT": Action(Do.ACCEPT),
    "DROP": Action(Do.DROP),
    "REJECT": Action(Do.REJECT),
    "RETURN": Action(Do.RETURN),
}
_TRANSPARENT = frozenset(("LOG", "NFLOG", "TRACE", "CONNMARK", "TCPMSS", "CHECKSUM", ""))
_UNKNOWN_TARGETS = frozenset(
    ["QUEUE", "NFQUEUE", "TPROXY", "REDIRECT", "NETMAP", "CT", "SYNPROXY", "HL", "TTL"]
)


class IptablesRule:
    """One rule; `text` is what iptables-save prints after ``-A CHAIN``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._read = _read(text)

    def run(self, packet: Packet, host: Host) -> list[Branch]:
        """All ways that the rule may go for `packet`."""
        matches, unknown, options = self._read
        chance = ONE
        try:
            for match in matches:
                chance *= match(packet, host)
                if not chance:
                    return [Branch(packet, on, matched=False)]
        except Unreadable as error:
            unknown = unknown or str(error)
        if unknown:
            return [Branch(packet, Action(Do.UNKNOWN, f"{unknown} in the rule: {self.text}"))]
        after, action = _target(packet, host, options, self.text)
        if chance == ONE:
            return [Branch(after, action)]
        return [Branch(after, action, chance), Branch(packet, on, Fraction(1) - chance, matched=False)]


@lru_cache(maxsize=65_536)
def _read(text: str) -> tuple[tuple[Match, ...], str, dict[str, str]]:
    """The matches of a rule, the first thing in it that the model doesn't know, and its target's options."""
    matches: list[Match] = []
    options: dict[str, str] = {}
    unknown = ""
    for option, value in _options(text):
        try:
            if option in MATCHES:
                matches.append(MATCHES[option](value))
            elif option in ("-j", "-g") or option in _TARGET_OPTIONS:
                options[option] = value
            elif option == "-m" and value not in _MODULES:
                raise Unreadable(f"the match {value}")
            elif option != "-m" and option not in _SILENT:
                raise Unreadable(f"the option {option}")
        except (Unreadable, ValueError) as error:
            unknown = unknown or str(error)
    return tuple(matches), unknown, options


def _options(text: str) -> Iterator[tuple[str, str]]:
    """Each option with its value; a negated one's has ``! `` before it."""
    negated = ""
    tokens = iter(_TOKEN.findall(text))
    for quoted, word in tokens:
        if word == "!":
            negated = "! "
        elif quoted or not word.startswith("-"):
            yield word or quoted, negated
        elif word in _FLAGS:
            yield word, negated
            negated = ""
        elif word in _TWO_VALUES:
            name, directions = next(tokens, ("", ""))[1], next(tokens, ("", ""))[1]
            yield word, f"{negated}{name} {directions}"
            negated = ""
        else:
            inside, plain = next(tokens, ("", ""))
            yield word, negated + (plain or _ESCAPED.sub(r"\1", inside))
            negated = ""


def _target(packet: Packet, host: Host, options: dict[str, str], text: str) -> tuple[Packet, Action]:
    """What the rule's target does to a packet that matches."""
    name = options.get("-j", options.get("-g", ""))
    if name in _VERDICTS:
        return packet, _VERDICTS[name]
    match name:
        case "MARK":
            return packet.changed(mark=_marked(packet.mark, options)), on
        case "DNAT":
            return _translated(packet, options, text)
        case "SET" if "--map-mark" in options:
            return _mapped(packet, host, options["--map-set"], text)
        case "MASQUERADE" | "SNAT":
            return packet.changed(snat=True, masqueraded=True), Action(Do.ACCEPT)
    if name in _TRANSPARENT:
        return packet, on
    if name in _UNKNOWN_TARGETS or name == "SET":
        return packet, Action(Do.UNKNOWN, f"the target {name} in the rule: {text}")
    return packet, Action(Do.GOTO if "-g" in options else Do.JUMP, name)


def _mapped(packet: Packet, host: Host, where: str, text: str) -> tuple[Packet, Action]:
    """The mark that the packet's element in a set has (skbinfo)."""
    name, _, directions = where.partition(" ")
    if name not in host.sets:
        return packet, Action(Do.UNKNOWN, f"the set {name} in the rule: {text}")
    options = (host.sets[name].find(packet, directions) or "").split()
    if "skbmark" not in options:
        return packet, on
    value, _, mask = options[options.index("skbmark") + 1].partition("/")
    kept = packet.mark & ~int(mask or "0xffffffff", 0)
    return packet.changed(mark=kept ^ int(value, 0)), on


def _marked(mark: int, options: dict[str, str]) -> int:
    for option in ("--set-xmark", "--set-mark"):
        if option in options:
            value, _, mask = options[option].partition("/")
            bits, number = int(mask or "0xffffffff", 0), int(value, 0)
            kept = mark & ~bits
            return kept ^ number if option == "--set-xmark" else kept | number
    if "--and-mark" in options:
        return mark & int(options["--and-mark"], 0)
    if "--xor-mark" in options:
        return mark ^ int(options["--xor-mark"], 0)
    return mark | int(options.get("--or-mark", "0"), 0)


def _translated(packet: Packet, options: dict[str, str], text: str) -> tuple[Packet, Action]:
    to = options.get("--to-destination", "")
    if "-" in to:
        return packet, Action(Do.UNKNOWN, f"a range of destinations in the rule: {text}")
    address, _, port = to.rpartition(":") if to.count(":") == 1 or to.startswith("[") else (to, "", "")
    packet = packet.changed(destination=address.strip("[]"), dnat=True)
    if port:
        packet = packet.changed(port=int(port))
    return packet, Action(Do.ACCEPT)
