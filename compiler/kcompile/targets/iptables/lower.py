"""A Dataplane as iptables rules: per family and table the chains, and the jumps that hang them into the hooks.

    nat     PREROUTING, OUTPUT -> SERVICES -> VIPS (tree) -> [EXT ->] SVC or SVL -> [SEP ->] DNAT
                                           -> NODEPORTS (tree) -> the same
            POSTROUTING        -> POSTROUTING [-> HAIRPIN (tree)] -> MASQUERADE
    filter  INPUT, FORWARD, OUTPUT -> INPUT, FORWARD, OUTPUT -> DEAD*, NODEPORTS, CLUSTER-IPS (trees) -> REJECT or DROP

Every chain is called KCOMPILE-*, and only these and the jumps to them are ours.
"""

from __future__ import annotations

from typing import Any

from ...ir.model import Dataplane, Family
from ..base import Key
from .context import Chains, Context
from .filters import FORWARD, INPUT, OUTPUT, lower_filter
from .nat import POSTROUTING, SERVICES, lower_nat
from .rules import Rule

__all__ = ["lower"]

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


def lower(dataplane: Dataplane) -> dict[Key, Any]:
    """The Program of both families. A family in which no Service lives gets no rules at all."""
    program: dict[Key, Any] = {}
    for family in Family:
        context = Context(dataplane, family)
        if context.ports or (context.compat.drop_unallocated and context.service_cidrs):
            key = context.spelling.key
            for table, chains in (("nat", lower_nat(context)), ("filter", lower_filter(context))):
                for name, rules in chains.items():
                    program["chain", key, table, name] = rules
                for hook, text in _jumps(table, chains):
                    program["jump", key, table, hook, text] = ""
    return program


def _jumps(table: str, chains: Chains) -> list[tuple[str, str]]:
    return [(hook, str(Rule(target=name, comment=_COMMENTS[name]))) for hook, name in _HOOKS[table] if name in chains]
