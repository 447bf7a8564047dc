"""iptables, legacy or nft variant: one text for both. See `lower` for the picture of chains and tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir.model import Dataplane
from ...plan.diff import Change, diff
from ..base import FrontendView, Key, Program
from .lower import Lowering
from .nat import POSTROUTING
from .render import scripts
from .view import frontends

__all__ = ["IptablesTarget"]

TOOLS = {"ip4": "iptables", "ip6": "ip6tables"}


class IptablesTarget:
    """Services as iptables rules. Keys of a Program:

    ``("chain", family, table, name)`` -> the chain's rules, each as iptables-save prints it after ``-A NAME``;
    ``("jump", family, table, hook, rule)`` -> ``""`` for a rule in a built-in chain that leads to one of ours
    (observed more than once: its count).
    """

    name = "iptables"

    def __init__(self) -> None:
        self._lowering = Lowering()

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return self._lowering.lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        versions = {int(key[1].removeprefix("ip")) for key in observed if key[0] == "chain" and key[3] == POSTROUTING}
        return tuple(sorted(versions))

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        return diff(observed, desired)

    def scripts(self, changes: Iterable[Change]) -> dict[str, str]:
        """Family -> the text that its ``iptables-restore --noflush`` reads to make `changes` true."""
        return scripts(changes)

    def describe(self, key: Key, value: Any) -> str:
        tool = f"{TOOLS[key[1]]} -t {key[2]}"
        if key[0] == "jump":
            return f"{tool} -I {key[3]} 1 {key[4]}"
        return f"{tool} -N {key[3]}" + "".join(f"; -A {rule}" for rule in value or ())

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)
