"""One rule as a typed record that writes and parses the text of iptables-save(8) 1.8.

`lower` writes its hot rules with f-strings in this same form; the tests hold both to ``str(Rule.parse(text))
== text``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

__all__ = ["Recent", "Rule", "probability", "quote"]

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPED = re.compile(r"\\(.)")


@lru_cache(maxsize=4096)
def probability(n: int) -> str:
    """1/n as xt_statistic keeps it, in 31 bits, and iptables-save prints it (libxt_statistic.c)."""
    return f"{round(2**31 / n) / 2**31:.11f}"


def quote(text: str) -> str:
    """`text` as xtables_save_string() prints it."""
    if _PLAIN.match(text):
        return text
    return '"' + re.sub(r"([\"\\'])", r"\\\1", text) + '"'


class Recent(msgspec.Struct, frozen=True, gc=False):
    """``-m recent``: `seconds` 0 sets the source's entry in list `name`; else matches one so fresh."""

    name: str
    mask: str
    seconds: int = 0

    def __str__(self) -> str:
        test = f"--rcheck --seconds {self.seconds} --reap" if self.seconds else "--set"
        return f"-m recent {test} --name {self.name} --mask {self.mask} --rsource "


class Rule(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The matches and options of our rules. A text with ``! `` before it negates its match; "" omits it.

    `ports` is the inclusive range of destination ports; `mark` and `set_mark` are ``value/mask``.
    """

    target: str
    goto: bool = False
    source: str = ""
    destination: str = ""
    interface: str = ""
    protocol: str = ""
    ports: tuple[int, int] | None = None
    states: str = ""
    mark: str = ""
    source_type: str = ""
    destination_type: str = ""
    probability: str = ""
    recent: Recent | None = None
    comment: str = ""
    to_destination: str = ""
    reject_with: str = ""
    set_mark: str = ""
    random_fully: bool = False

    def __str__(self) -> str:
        parts = [_option("-s", self.source), _option("-d", self.destination), _option("-i", self.interface)]
        parts.append(f"-p {self.protocol} " if self.protocol else "")
        if self.ports:
            low, high = self.ports
            parts.append(f"-m {self.protocol} --dport {low if low == high else f'{low}:{high}'} ")
        parts.append(f"-m conntrack {_option('--ctstate', self.states)}" if self.states else "")
        parts.append(f"-m mark {_option('--mark', self.mark)}" if self.mark else "")
        if self.source_type or self.destination_type:
            source = _option("--src-type", self.source_type)
            parts.append(f"-m addrtype {source}{_option('--dst-type', self.destination_type)}")
        random = f"-m statistic --mode random --probability {self.probability} "
        parts.append(random if self.probability else "")
        parts.append(str(self.recent) if self.recent else "")
        parts.append(f"-m comment --comment {quote(self.comment)} " if self.comment else "")
        parts.append(f"-{'g' if self.goto else 'j'} {self.target}")
        for option, value in (
            ("--to-destination", self.to_destination),
            ("--reject-with", self.reject_with),
            ("--set-xmark", self.set_mark),
        ):
            parts.append(f" {option} {value}" if value else "")
        parts.append(" --random-fully" if self.random_fully else "")
        return "".join(parts)

    @classmethod
    def parse(cls, text: str) -> Rule:
        """The record of `text`; raises ValueError for an option that our rules don't use."""
        found: dict[str, str] = {}
        tokens = iter(_TOKEN.findall(text))
        negated = ""
        for quoted, word in tokens:
            if quoted or not word.startswith(("-", "!")):
                raise ValueError(f"{word or quoted!r} is out of place in rule {text!r}")
            if word == "!":
                negated = "! "
            elif word in _FLAGS:
                found[word] = "yes"
            elif word in _VALUES:
                value_quoted, value = next(tokens, ("", ""))
                found[word] = negated + (_ESCAPED.sub(r"\1", value_quoted) if value_quoted else value)
                negated = ""
            else:
                raise ValueError(f"{word} is not known: rule {text!r}")
        return cls._of(found, text)

    @classmethod
    def _of(cls, found: dict[str, str], text: str) -> Rule:
        get = found.get
        if not (target := get("-j") or get("-g")):
            raise ValueError(f"no target: rule {text!r}")
        ports = None
        if dport := get("--dport"):
            low, _, high = dport.partition(":")
            ports = (int(low), int(high or low))
        recent = None
        if name := get("--name"):
            recent = Recent(name, found["--mask"], int(get("--seconds", "0")))
        rest: dict[str, Any] = {field: found[option] for option, field in _FIELDS.items() if option in found}
        return cls(
            target=target,
            goto="-g" in found,
            ports=ports,
            recent=recent,
            random_fully="--random-fully" in found,
            **rest,
        )


def _option(name: str, value: str) -> str:
    if value.startswith("! "):
        return f"! {name} {value[2:]} "
    return f"{name} {value} " if value else ""


_FIELDS = {
    "-s": "source",
    "-d": "destination",
    "-i": "interface",
    "-p": "protocol",
    "--ctstate": "states",
    "--mark": "mark",
    "--src-type": "source_type",
    "--dst-type": "destination_type",
    "--probability": "probability",
    "--comment": "comment",
    "--to-destination": "to_destination",
    "--reject-with": "reject_with",
    "--set-xmark": "set_mark",
}
_VALUES = {*_FIELDS, "-j", "-g", "-m", "--dport", "--mode", "--name", "--mask", "--seconds"}
_FLAGS = {"--rcheck", "--set", "--reap", "--rsource", "--random-fully"}
