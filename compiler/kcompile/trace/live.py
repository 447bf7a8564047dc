"""The base chains of a node, of what its kernel shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..program import Program
from .chains import BaseChain
from .iptables import from_save
from .ipvs import from_program as from_ipvs
from .nft import from_json
from .xdp import from_program as from_xdp

__all__ = ["live_chains"]


def live_chains(
    nft: Mapping[str, Any], saves: Iterable[tuple[int, str]], programs: Mapping[str, Program]
) -> list[BaseChain]:
    """All chains of all tools.

    :param nft: the document of ``nft -j list ruleset``, without the tables that iptables-nft shows better
    :param saves: what iptables-save prints, each with its IP version
    :param programs: what modes ipvs and xdp hold, by their names
    """
    chains = [*from_json(nft), *(chain for version, text in saves for chain in from_save(text, version))]
    if "ipvs" in programs:
        chains += from_ipvs(programs["ipvs"])
    if "xdp" in programs:
        chains += from_xdp(programs["xdp"])
    return chains
