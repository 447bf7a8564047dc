"""A Dataplane as iptables rules: for each family and table the chains, and the jumps from the hooks.

    nat     PREROUTING, OUTPUT -> SERVICES -> VIPS (tree) -> [EXT ->] SVC or SVL -> [SEP ->] DNAT
                                           -> NODEPORTS (tree) -> the same
            POSTROUTING        -> POSTROUTING [-> HAIRPIN (tree)] -> MASQUERADE
    filter  INPUT, FORWARD, OUTPUT -> INPUT, FORWARD, OUTPUT -> DEAD*, NODEPORTS, CLUSTER-IPS (trees) ->
    REJECT or DROP

Every chain is called KCOMPILE-*, and only these and the jumps to them are ours.
"""

from __future__ import annotations

from typing import Any

from ...ir.model import Dataplane, Family
from ...ir.node import NodeFacts, Settings
from ...program import Key
from ..xtables.keys import ChainKey, JumpKey
from .context import Chains, Context
from .filters import FORWARD, INPUT, OUTPUT, lower_filter
from .nat import POSTROUTING, SERVICES, lower_nat
from .pieces import Memo
from .rules import Rule

__all__ = ["Lowering"]

_TABLES = (("nat", lower_nat), ("filter", lower_filter))
_HOOKS = {
    "nat": (("PREROUTING", SERVICES), ("OUTPUT", SERVICES), ("POSTROUTING", POSTROUTING)),
    "filter": (("INPUT", INPUT), ("FORWARD", FORWARD), ("OUTPUT", OUTPUT)),
}
_COMMENTS = {
    SERVICES: "kcompile: services",
    POSTROUTING: "kcompile: masquerading",
    INPUT: "kcompile: to this node",
    FORWARD: "kcompile: through this node",
    OUTPUT: "kcompile: from this node",
}


class Lowering:
    """Lowers dataplanes one after the other; rules of unchanged ports are cached."""

    def __init__(self) -> None:
        self._basis: tuple[NodeFacts, Settings] | None = None
        self._memos: dict[tuple[str, str], Memo] = {}

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        """The Program of both families.

        A family without Services has no rules, or those that open connections need: a rule that uses
        conntrack, so that the kernel goes on translating, and FORWARD's ACCEPT.
        """
        basis = dataplane.node, dataplane.settings
        if basis != self._basis:
            self._basis, self._memos = basis, {}
        program: dict[Key, Any] = {}
        for family in Family:
            context = Context(dataplane, family)
            guarded = context.compat.drop_unallocated and context.service_cidrs
            if context.ports or guarded or family.value in dataplane.standing:
                key = context.spelling.key
                for table, lower_table in _TABLES:
                    chains = lower_table(context, self._memos.setdefault((key, table), Memo()))
                    for name, rules in chains.items():
                        program[ChainKey(key, table, name)] = rules
                    for hook, text in _jumps(table, chains):
                        program[JumpKey(key, table, hook, text)] = ""
        return program


def _jumps(table: str, chains: Chains) -> list[tuple[str, str]]:
    return [
        (hook, str(Rule(target=name, comment=_COMMENTS[name])))
        for hook, name in _HOOKS[table]
        if name in chains
    ]
