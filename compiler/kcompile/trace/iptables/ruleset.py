"""The base chains of iptables: of what iptables-save prints, or of a lowered Program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...program import Key
from ...targets.xtables.keys import ChainKey, JumpKey
from ..chains import BaseChain
from ..outcome import Do, Rule
from .rules import IptablesRule

__all__ = ["from_program", "from_save"]

# Priorities of the tables at each hook (nf_ip_hook_priorities, uapi/linux/netfilter_ipv4.h).
_PRIORITIES = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
_SOURCE_NAT = 100
_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_TOOLS = {4: "iptables", 6: "ip6tables"}


def from_save(text: str, version: int) -> list[BaseChain]:
    """The base chains of what ``iptables-save`` (4) or ``ip6tables-save`` (6) prints."""
    return [
        chain
        for table, chains, policies in _tables(text)
        for chain in _base_chains(table, chains, policies, version)
    ]


_Chains = dict[str, list[Rule]]


def _tables(text: str) -> Iterator[tuple[str, _Chains, dict[str, Do]]]:
    """Each table: its name, its chains, the policies of those that are built in."""
    table, chains, policies = "", _Chains(), dict[str, Do]()
    for line in text.splitlines():
        if line.startswith("*"):
            table, chains, policies = line[1:].strip(), {}, {}
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains[name] = []
            if policy != "-":
                policies[name] = Do(policy.lower())
        elif line.startswith(("-A", "[")):
            rule = line.partition("] ")[2] if line.startswith("[") else line
            _, name, options = [*rule.split(" ", 2), ""][:3]
            chains.setdefault(name, []).append(IptablesRule(options))
        elif line.startswith("COMMIT"):
            yield table, chains, policies


def from_program(program: Mapping[Key, Any]) -> list[BaseChain]:
    """The base chains of a lowered Program (targets/iptables)."""
    tables: dict[tuple[str, str], _Chains] = {}
    for key, value in program.items():
        match key:
            case ChainKey(family=family, table=table, name=name):
                chains = tables.setdefault((family, table), {})
                chains[name] = [IptablesRule(rule) for rule in value]
            case JumpKey(family=family, table=table, hook=hook, rule=rule):
                chains = tables.setdefault((family, table), {})
                chains.setdefault(hook, []).append(IptablesRule(rule))
    return [
        chain
        for (family, table), chains in tables.items()
        for chain in _base_chains(table, chains, {}, int(family.removeprefix("ip")))
    ]


def _base_chains(
    table: str, chains: _Chains, policies: Mapping[str, Do], version: int
) -> Iterator[BaseChain]:
    for hook in _HOOKS:
        if hook in chains:
            nat = table == "nat"
            source = nat and hook in ("POSTROUTING", "INPUT")
            yield BaseChain(
                name=f"{_TOOLS[version]} {table} {hook}",
                hook=hook.lower(),
                priority=_SOURCE_NAT if source else _PRIORITIES[table],
                rules=chains[hook],
                chains=chains,
                nat=nat,
                policy=policies.get(hook, Do.ACCEPT),
                versions=frozenset((version,)),
            )
