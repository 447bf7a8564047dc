"""What stays of mode ipvs after another mode took over: only what open IPVS connections need.

New connections never reach IPVS in LOCAL_IN: the other mode DNATs them before, in PREROUTING or OUTPUT. A
connection through IPVS has a conntrack entry (sysctl net.ipv4.vs.conntrack), and packets of known
connections pass no nat rule. So it goes on as long as the node has its VIP and IPVS its real server;
conntrack knows its masquerading. New connections of the node itself have another source address than the VIP
by then (kernel/ipvs/sources.py).
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
    """The Program to keep beside draining real servers; empty where none in `observed` can have connections.

    It includes the rule that keeps other listeners of the node from answering on a VIP that is still bound.
    """
    keep: dict[Key, Any] = {}
    for family in Family:
        version, spelling = family.value, SPELLINGS[family]
        if not _serves(observed, version):
            continue
        keep[DeviceKey()] = ""
        sets = (key for key in observed if isinstance(key, SetKey) and key.version == version)
        keep |= {key: observed[key] for key in sets if key.name in HELD_SETS}
        if SetKey(version, "VIPS") not in keep:
            continue
        vips = f"-m set --match-set {set_name(version, 'VIPS')} dst"
        guard = f"{vips} -m conntrack ! --ctstate DNAT {spelling.reject}"
        keep[ChainKey(spelling.key, "filter", _INPUT)] = (guard,)
        keep |= {key: "" for key in observed if _leads_to_input(key, spelling.key)}
    return keep


def _leads_to_input(key: Key, family: str) -> bool:
    """True for the jump to our INPUT chain in `family`'s filter table."""
    if not isinstance(key, JumpKey) or (key.family, key.table) != (family, "filter"):
        return False
    return key.rule.endswith(f"-j {_INPUT}")


def _serves(observed: Program, version: int) -> bool:
    """Whether a real server of this IP version may still have connections."""
    servers = (
        server
        for key, server in observed.items()
        if isinstance(key, RealServerKey) and key.version == version
    )
    return any(not server.drained for server in servers)
