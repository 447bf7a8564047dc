"""What iptables-nft leaves behind: it makes built-in chains and tables with the first rule in them, and never
takes them away again.
"""

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
    """Remove the built-in chains that the jumps in `held` were in, and then their tables, as far as they say
    nothing any more.

    That is: no rule, and policy accept; no chain, set or object of anybody. To iptables such a chain is the
    same as none. Whatever else may be there is in nobody's way, so a failure is none of an apply.
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
            and _says_nothing(body)
            and body["name"] not in used
        ]
        # refused where somebody has put a rule in meanwhile
        nft.apply("".join(f"delete chain {family} {table} {name}\n" for name in idle))
        if all(kind == "table" for kind, _ in nft.items(f"list table {family} {table}")):
            nft.apply(f"delete table {family} {table}\n")


def _says_nothing(chain: dict[str, str]) -> bool:
    return "hook" in chain and chain.get("policy", "accept") == "accept"
