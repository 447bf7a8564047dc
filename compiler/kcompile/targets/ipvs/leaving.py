"""What stays of mode ipvs when another mode takes over: no more than open connections through virtual servers need.

New connections never get there: the other mode translates them in PREROUTING or OUTPUT, ahead of IPVS in LOCAL_IN. A connection that
IPVS balances has a conntrack entry (the sysctl net.ipv4.vs.conntrack), and packets of known connections pass no nat rule, so it
goes on as it was for as long as its address is the node's and its real server is there. Its masquerading is in conntrack too.
The node's own new connections have another source than the VIP by then (kernel/sources.py).
"""

from __future__ import annotations

from typing import Any

from ...ir.model import Family
from ..base import Key, Program
from ..xtables.spelling import SPELLINGS
from .chains import PREFIX
from .resources import set_name
from .target import HELD_SETS

__all__ = ["remainder"]

_INPUT = PREFIX + "INPUT"


def remainder(observed: Program) -> dict[Key, Any]:
    """What has to be there beside real servers that drain, empty where none in `observed` can have connections.

    As long as a VIP is bound, other services of the node must not answer on it.
    """
    keep: dict[Key, Any] = {}
    for family in Family:
        version, spelling = family.value, SPELLINGS[family]
        if not any(key[0] == "rs" and key[1] == version and not server.drained for key, server in observed.items()):
            continue
        keep[("device",)] = ""
        keep |= {key: value for key, value in observed.items() if key[0] == "set" and key[1] == version and key[2] in HELD_SETS}
        if ("set", version, "VIPS") not in keep:
            continue
        guard = f"-m set --match-set {set_name(version, 'VIPS')} dst -m conntrack ! --ctstate DNAT {spelling.reject}"
        keep["chain", spelling.key, "filter", _INPUT] = (guard,)
        to_it = f"-j {_INPUT}"
        jumps = (key for key in observed if key[0] == "jump" and key[1:3] == (spelling.key, "filter") and key[4].endswith(to_it))
        keep |= dict.fromkeys(jumps, "")
    return keep
