"""The nftables target: one table a family, dispatch by one map lookup, one chain a shape, backends in maps
(ADR 0003).

resources.py   the kernel's nouns: chains, rules, maps, elements, and how each is written
detect.py      matches that tell a node's own pods, by family
shapes.py      the chains that services with the same shape share
affinity.py    session affinity: the one feature that costs chains of its own
base.py        base chains: hooks, filters, masquerading
lower.py       Dataplane -> Program
render.py      changes -> one nft transaction
parse.py       what `nft -j list table` says -> Program
view.py        Program -> frontends, for people
"""

from .incremental import IncrementalProgram
from .target import NftablesTarget

__all__ = ["IncrementalProgram", "NftablesTarget"]
