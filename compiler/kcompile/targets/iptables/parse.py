"""What iptables-save printed, as a Program: chains called KCOMPILE-* and whatever in a built-in chain jumps to one."""

from __future__ import annotations

from typing import Any

from ..base import Key
from .names import CHAIN_PREFIX

__all__ = ["parse"]

_OURS = f"-A {CHAIN_PREFIX}"
_DECLARED = f":{CHAIN_PREFIX}"
_TARGETS = (f" -j {CHAIN_PREFIX}", f" -g {CHAIN_PREFIX}")


def parse(text: str, family: str) -> dict[Key, Any]:
    """The Program of `family` (``ip4`` or ``ip6``) in `text`, in the kernel's order.

    A jump found more than once has its count for a value, so that a plan sees it and puts it right.
    """
    program: dict[Key, Any] = {}
    rules: dict[str, list[str]] = {}
    jumps: dict[tuple[str, str], int] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith(_OURS):
            name, _, rule = line[3:].partition(" ")
            rules[name].append(rule)
        elif line.startswith(_DECLARED):
            rules[line[1 : line.index(" ")]] = []
        elif line.startswith("*"):
            table, rules, jumps = line[1:], {}, {}
        elif line.startswith("-A ") and any(target in line for target in _TARGETS):
            hook, _, rule = line[3:].partition(" ")
            # a rule in someone else's chain is that chain's owner's
            if hook.isupper() and "-" not in hook:
                jumps[hook, rule] = jumps.get((hook, rule), 0) + 1
        elif line == "COMMIT":
            for name, found in rules.items():
                program["chain", family, table, name] = tuple(found)
            for (hook, rule), count in jumps.items():
                program["jump", family, table, hook, rule] = "" if count == 1 else str(count)
    return program
