"""The resources of every mode that writes iptables rules: our chains, and the jumps to them from built-in
chains.
"""

from __future__ import annotations

from typing import ClassVar

from ...program import Key

__all__ = ["ChainKey", "JumpKey", "RuleKey", "TOOLS"]

TOOLS = {"ip4": "iptables", "ip6": "ip6tables"}
"""Family of a key -> the tool that writes it."""


class RuleKey(Key, frozen=True, gc=False):
    """What both kinds share: `family` is ``ip4`` or ``ip6``, `table` ``nat``, ``filter`` or ``mangle``."""

    family: str
    table: str

    @property
    def command(self) -> str:
        """The tool and the table, as a command line begins."""
        return f"{TOOLS[self.family]} -t {self.table}"


class ChainKey(RuleKey, frozen=True, gc=False):
    """A chain of ours; its value is its rules, each as iptables-save prints it after ``-A NAME``."""

    kind: ClassVar[str] = "chain"
    name: str

    def describe(self, rules: tuple[str, ...] | None) -> str:
        """The options that make the chain, on one line."""
        return f"{self.command} -N {self.name}" + "".join(f"; -A {rule}" for rule in rules or ())


class JumpKey(RuleKey, frozen=True, gc=False):
    """A rule in the built-in chain `hook` that leads to one of ours; its value is ``""``, or its count if
    found more than once.
    """

    kind: ClassVar[str] = "jump"
    hook: str
    rule: str

    def describe(self) -> str:
        """The options that put the jump in."""
        return f"{self.command} -I {self.hook} 1 {self.rule}"
