"""Removes empty built-in chains and tables, which iptables-nft makes with a first rule and never deletes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import KcompileError
from ..program import Key
from ..targets.xtables.keys import JumpKey
from .nftables import Nft

__all__ = ["FAMILIES", "has_chain", "tidy"]

FAMILIES = {"ip4": "ip", "ip6": "ip6"}


def has_chain(family: str, table: str, ours: re.Pattern[str]) -> bool:
    """Whether a chain whose name `ours` matches is in `table` of `family` (``ip4``, ``ip6``); nft reads what
    iptables can't.
    """
    with Nft() as nft:
        chains = nft.objects(f"list chains {FAMILIES[family]}", "chain")
    return any(chain["table"] == table and ours.match(chain["name"]) for chain in chains)


def tidy(held: Iterable[Key]) -> None:
    """Remove the built-in chains of the jumps in `held`, then their tables, where these are empty.

    An empty chain has no rule and policy accept (to iptables it is the same as none); an empty table has no
    chain, set or object. A failure is ignored: what stays does no harm.
    """
    hooks = dict.fromkeys(
        (FAMILIES[key.family], key.table, key.hook) for key in held if isinstance(key, JumpKey)
    )
    if not hooks:
        return
    try:
        with Nft() as nft:
            _tidy(nft, list(hooks))
    except KcompileError:
        return


def _tidy(nft: Nft, hooks: list[tuple[str, str, str]]) -> None:
    there = {(t["family"], t["name"]) for t in nft.objects("list tables", "table")}
    for family, table in dict.fromkeys(hook[:2] for hook in hooks):
        if (family, table) not in there:
            continue
        found = nft.items(f"list table {family} {table}")
        used = {body["chain"] for kind, body in found if kind == "rule"}
        idle = [
            body["name"]
            for kind, body in found
            if kind == "chain"
            and (family, table, body["name"]) in hooks
            and _accepts(body)
            and body["name"] not in used
        ]
        # refused where somebody has put a rule in meanwhile
        nft.apply("".join(f"delete chain {family} {table} {name}\n" for name in idle))
        if all(kind == "table" for kind, _ in nft.items(f"list table {family} {table}")):
            nft.apply(f"delete table {family} {table}\n")


def _accepts(chain: dict[str, str]) -> bool:
    """True for a base chain with policy accept."""
    return "hook" in chain and chain.get("policy", "accept") == "accept"
