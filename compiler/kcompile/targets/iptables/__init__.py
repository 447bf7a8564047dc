"""The iptables target: the same rules for the legacy and the nft variant. lower.py draws chains and tables.

lower.py     Dataplane -> Program, kept up to date port by port
context.py   what the rules of one family share
nat.py       the nat table
filters.py   the filter table
policy.py    a Policy as first-match lists
pools.py     the chain that picks a backend
tree.py      a decision tree of chains over addresses or ports
names.py     names of chains, keys of ports
pieces.py    the rules of one table, kept up to date port by port
rules.py     one rule as a record: parse, write
render.py    changes -> scripts of iptables-restore
view.py      Program -> frontends
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...ir.model import Dataplane
from ...program import Change, Key, Program, diff
from ..base import FrontendView
from ..xtables.keys import ChainKey, JumpKey
from .lower import IncrementalProgram
from .nat import POSTROUTING
from .render import scripts
from .view import frontends

__all__ = ["IncrementalProgram", "IptablesTarget"]


class IptablesTarget:
    """Services as iptables rules. The keys of a Program are those of targets/xtables/keys.py."""

    name = "iptables"
    uses_conntrack = True
    translates_in_nat = True
    stands_as_one = False

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return IncrementalProgram(dataplane).program

    def standing(self, observed: Program) -> tuple[int, ...]:
        families = {key.family for key in observed if isinstance(key, ChainKey) and key.name == POSTROUTING}
        return tuple(sorted(int(family.removeprefix("ip")) for family in families))

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        return diff(observed, desired)

    def scripts(self, changes: Iterable[Change]) -> dict[str, str]:
        """Family -> the text that its ``iptables-restore --noflush`` reads to make `changes` true."""
        return scripts(changes)

    def describe(self, key: Key, value: Any) -> str:
        if isinstance(key, JumpKey):
            return key.describe()
        assert isinstance(key, ChainKey)
        return key.describe(value)

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)
