"""The output of iptables-save -> Program: one mode's chains, and the jumps to them from built-in chains."""

from __future__ import annotations

import re
from typing import Any

from .keys import ChainKey, JumpKey, RuleKey

__all__ = ["IPTABLES", "IPVS", "parse"]

# The chains of mode iptables and of mode ipvs: neither sees the other's.
IPTABLES = re.compile(r"KCOMPILE-(?!IPVS-)")
IPVS = re.compile(r"KCOMPILE-IPVS-")
_JUMP = re.compile(r" -[jg] (\S+)")


def parse(text: str, family: str, ours: re.Pattern[str] = IPTABLES) -> dict[RuleKey, Any]:
    """The Program of `family` (``ip4`` or ``ip6``) in `text`, in the kernel's order; `ours` matches the names
    of our chains.

    A jump found more than once has its count as its value, so that a plan corrects it.
    """
    program: dict[RuleKey, Any] = {}
    rules: dict[str, list[str]] = {}
    jumps: dict[tuple[str, str], int] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("-A "):
            name, _, rule = line[3:].partition(" ")
            if name in rules:
                rules[name].append(rule)
            # a rule in a user-defined chain of others belongs to its owner
            elif (
                "KCOMPILE-" in line
                and name.isupper()
                and "-" not in name
                and (to := _JUMP.search(line))
                and ours.match(to[1])
            ):
                jumps[name, rule] = jumps.get((name, rule), 0) + 1
        elif line.startswith(":"):
            name = line[1 : line.index(" ")]
            if ours.match(name):
                rules[name] = []
        elif line.startswith("*"):
            table, rules, jumps = line[1:], {}, {}
        elif line == "COMMIT":
            for name, found in rules.items():
                program[ChainKey(family, table, name)] = tuple(found)
            for (hook, rule), count in jumps.items():
                program[JumpKey(family, table, hook, rule)] = "" if count == 1 else str(count)
    return program
