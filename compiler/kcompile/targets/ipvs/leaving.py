"""What stays of mode ipvs when another mode takes over: no more than open connections through virtual servers
need.

New connections never get there: the other mode translates them in PREROUTING or OUTPUT, ahead of IPVS in
LOCAL_IN. A connection that IPVS balances has a conntrack entry (the sysctl net.ipv4.vs.conntrack), and
packets of known connections pass no nat rule, so it goes on as it was for as long as its address is the
node's and its real server is there. Its masquerading is in conntrack too. The node's own new connections have
another source than the VIP by then (kernel/ipvs/sources.py).
"""

from __future__ import annotations

from typing import Any

from ...ir.model import Family
from ...program import Key, Program
from ..xtables.keys import ChainKey, JumpKey
from ..xtables.spelling import SPELLINGS
from .chains import PREFIX
from .resources import DeviceKey, RealServerKey, SetKey, set_name
from .target import HELD_SETS

__all__ = ["remainder"]

_INPUT = PREFIX + "INPUT"


def remainder(observed: Program) -> dict[Key, Any]:
    """What has to be there beside real servers that drain, empty where none in `observed` can have
    connections.

    As long as a VIP is bound, other services of the node must not answer on it.
    """
    keep: dict[Key, Any] = {}
    for family in Family:
        version, spelling = family.value, SPELLINGS[family]
        if not _serves(observed, version):
            continue
        keep[DeviceKey()] = ""
        held = (
            key
            for key in observed
            if isinstance(key, SetKey) and key.version == version and key.name in HELD_SETS
        )
        keep |= {key: observed[key] for key in held}
        if SetKey(version, "VIPS") not in keep:
            continue
        guard = f"-m set --match-set {set_name(version, 'VIPS')} dst -m conntrack ! --ctstate DNAT {spelling.reject}"
        keep[ChainKey(spelling.key, "filter", _INPUT)] = (guard,)
        for key in observed:
            if (
                isinstance(key, JumpKey)
                and (key.family, key.table) == (spelling.key, "filter")
                and key.rule.endswith(f"-j {_INPUT}")
            ):
                keep[key] = ""
    return keep


def _serves(observed: Program, version: int) -> bool:
    """Whether a real server of this IP version may still have connections."""
    servers = (
        server
        for key, server in observed.items()
        if isinstance(key, RealServerKey) and key.version == version
    )
    return any(not server.drained for server in servers)
