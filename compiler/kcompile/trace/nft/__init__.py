"""Rules of nftables.

text         nft's language to the form that ``nft -j`` has (libnftables-json(5))
values       constants, packets' fields and sets in comparable form
expressions  the value of an expression, all ways of chance
statements   what a statement does
ruleset      base chains of a ruleset: as ``nft -j list ruleset`` shows it, or of a lowered Program
"""

from .ruleset import from_json, from_program

__all__ = ["from_json", "from_program"]
