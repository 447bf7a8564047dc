"""A Dataplane as iptables rules: for each family and table the chains, and the jumps from the hooks.

    nat     PREROUTING, OUTPUT -> SERVICES -> VIPS (tree) -> [EXT ->] SVC or SVL -> [SEP ->] DNAT
                                           -> NODEPORTS (tree) -> the same
            POSTROUTING        -> POSTROUTING [-> HAIRPIN (tree)] -> MASQUERADE
    filter  INPUT, FORWARD, OUTPUT -> INPUT, FORWARD, OUTPUT -> DEAD*, NODEPORTS, CLUSTER-IPS (trees) ->
    REJECT or DROP

Every chain is called KCOMPILE-*, and only these and the jumps to them are ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ...ir.model import Dataplane, Family, HealthCheck, ResolvedPort
from ...program import Change, Key
from ..xtables.keys import ChainKey, JumpKey
from .context import Chains, Context
from .filters import FORWARD, INPUT, OUTPUT, FilterLayout
from .nat import POSTROUTING, SERVICES, NatLayout
from .pieces import Table
from .rules import Rule

__all__ = ["IncrementalProgram"]

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


class IncrementalProgram:
    """The Program of `dataplane`, kept up to date port by port: see Incremental in targets/base.py.

    A family without Services has no rules, or those that open connections need: a rule that uses conntrack,
    so that the kernel goes on translating, and FORWARD's ACCEPT.
    """

    def __init__(self, dataplane: Dataplane) -> None:
        self._dataplane = dataplane
        self._families: dict[Family, tuple[Table, ...]] = {}
        self.program: dict[Key, Any] = {}
        for family in Family:
            context = Context(dataplane, family)
            guarded = context.compat.drop_unallocated and context.service_cidrs
            if guarded or family.value in dataplane.standing:
                self._families[family] = _tables(context)
            self._replace(family, [], [port for port in dataplane.ports if port.family is family])

    def replace(self, old: Iterable[ResolvedPort], new: Iterable[ResolvedPort]) -> tuple[Change, ...]:
        """Put the ports `new` in the place of `old`; returns the changes of chains and jumps."""
        gone, come = list(old), list(new)
        changes: list[Change] = []
        for family in dict.fromkeys(port.family for port in (*gone, *come)):
            changes += self._replace(
                family,
                [port for port in gone if port.family is family],
                [port for port in come if port.family is family],
            )
        return tuple(changes)

    def check(self, health_checks: Sequence[HealthCheck], /) -> tuple[Change, ...]:
        """Put `health_checks` in the place of those that there were; returns the changes."""
        self._dataplane = msgspec.structs.replace(self._dataplane, health_checks=tuple(health_checks))
        changes: list[Change] = []
        for family, tables in self._families.items():
            for table in tables:
                if isinstance(table.layout, FilterLayout):
                    table.layout.health_checks = health_checks
            changes += self._replace(family, [], [])
        return tuple(changes)

    def _replace(self, family: Family, old: list[ResolvedPort], new: list[ResolvedPort]) -> list[Change]:
        if new and family not in self._families:
            self._families[family] = _tables(Context(self._dataplane, family))
        program, changes = self.program, list[Change]()
        for table in self._families.get(family, ()):
            for key, value in _changed(table, old, new).items():
                before = program.get(key)
                if value == before:
                    continue
                if value is None:
                    del program[key]
                else:
                    program[key] = value
                changes.append(Change(key, before, value))
        return changes


def _tables(context: Context) -> tuple[Table, ...]:
    return Table(NatLayout(context)), Table(FilterLayout(context))


def _changed(table: Table, old: list[ResolvedPort], new: list[ResolvedPort]) -> dict[Key, Any]:
    """The chains and jumps of `table` that may have changed; those that are gone as None."""
    family, name = table.layout.context.spelling.key, table.layout.name
    before = _jumps(name, table.entries)
    changed: dict[Key, Any] = {
        ChainKey(family, name, chain): rules for chain, rules in table.replace(old, new).items()
    }
    after = _jumps(name, table.entries)
    gone = dict.fromkeys(before.keys() - after.keys())
    return changed | {JumpKey(family, name, *jump): value for jump, value in (after | gone).items()}


def _jumps(table: str, chains: Chains) -> dict[tuple[str, str], str]:
    """Hook and rule of each jump."""
    return {
        (hook, str(Rule(target=name, comment=_COMMENTS[name]))): ""
        for hook, name in _HOOKS[table]
        if name in chains
    }
