"""The base chains of a lowered Program, of whatever target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..program import Key
from ..targets.xtables import keys as xtables
from .chains import BaseChain
from .iptables import from_program as from_iptables
from .nft import from_program as from_nft

__all__ = ["base_chains"]


def base_chains(program: Mapping[Key, Any]) -> list[BaseChain]:
    """The chains of a Program of targets/nftables or targets/iptables."""
    if any(isinstance(key, xtables.RuleKey) for key in program):
        return from_iptables(program)
    return from_nft(program)
