"""The nftables target: one table a family, dispatch by one map lookup, one chain a shape, backends in maps
(ADR 0003).

target.py        the target: diff, scripts, text of a resource
resources.py     keys and values: chains, rules, maps, elements, and how each is written
lower.py         Dataplane -> Program
ports.py         one service port -> its elements and chains
shapes.py        the chains that services of the same shape share
affinity.py      session affinity: chains and a set of clients for each backend
base.py          base chains: hooks, filters, masquerading
detect.py        matches for packets from local pods
incremental.py   a Program updated port by port
render.py        changes -> one nft transaction
parse.py         ``nft -j list table`` -> Program
view.py          Program -> frontends
"""

from .incremental import IncrementalProgram
from .target import NftablesTarget

__all__ = ["IncrementalProgram", "NftablesTarget"]
