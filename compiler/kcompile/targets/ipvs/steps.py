"""The order of an apply: a VIP in use always has a real server, and rules refer only to what exists.

New virtual servers and their real servers come before rules, marks and addresses that lead to them; old ones
are removed after these. A refusal (REJECT, DROP, source ranges) is added before its server is removed, and
removed after its server is added.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from ...program import Change, Key
from ..xtables.keys import ChainKey, JumpKey
from .resources import ElementKey, RealServerKey, VirtualServerKey

__all__ = ["Kind", "Step", "steps"]


class Kind(enum.Enum):
    """The tool of a step; `value` is its label in a plan."""

    DEVICE = "ip link"
    SETS = "ipset restore"
    SERVERS = "ipvsadm"
    RULES = "iptables-restore"
    ADDRESSES = "ip address"


class Step(msgspec.Struct, frozen=True):
    """Changes that one tool makes in one go, in this order.

    `family` is that of RULES (``ip4`` or ``ip6``).
    """

    kind: Kind
    changes: tuple[Change, ...]
    family: str = ""


# sets that lead to virtual servers: filled after these exist
_LEADING = frozenset(("INSIDE", "NP-INSIDE", "NODEPORTS", "STICKY"))
_REFUSING = frozenset(("REJECT", "DROP", "NP-REJECT", "NP-DROP"))
# GUARDED makes rules look up RANGES: it is added after them, and removed before them
_ADD_LAST = {"GUARDED": 1}
_Sorted = dict[str, list[Change]]  # changes by what they are for the order


def steps(changes: Iterable[Change]) -> list[Step]:
    """`changes` in the order that keeps every connection; empty steps are left out."""
    make: _Sorted = {}
    gone: _Sorted = {}
    for change in changes:
        into = gone if change.new is None else make
        into.setdefault(_role(change.key), []).append(change)
    new, old = make.get, gone.get
    families = ("ip4", "ip6")
    # if all rules of a family are removed, they are removed after their servers
    leaving = [f for f in families if f"rules {f}" not in make]
    found = [
        Step(Kind.DEVICE, tuple(new("device", ()))),
        Step(Kind.SETS, (*new("set", ()), *sorted((*new("element", ()), *new("refusing", ())), key=_last))),
        Step(Kind.SERVERS, _servers_first(new("server", []))),
        *(
            Step(Kind.RULES, (*old(f"rules {f}", ()), *new(f"rules {f}", ())), f)
            for f in families
            if f not in leaving
        ),
        Step(Kind.SETS, tuple(new("leading", ()))),
        Step(Kind.ADDRESSES, tuple(new("address", ()))),
        Step(Kind.SETS, (*old("refusing", ()), *old("leading", ()))),
        Step(Kind.SERVERS, tuple(old("server", ()))),
        Step(Kind.ADDRESSES, tuple(old("address", ()))),
        Step(Kind.SETS, tuple(sorted(old("element", ()), key=lambda c: -_last(c)))),
        *(Step(Kind.RULES, tuple(old(f"rules {f}", ())), f) for f in leaving),
        Step(Kind.SETS, tuple(old("set", ()))),
        Step(Kind.DEVICE, tuple(old("device", ()))),
    ]
    return [step for step in found if step.changes]


def _role(key: Key) -> str:
    match key:
        case ElementKey(set=name):
            return "leading" if name in _LEADING else "refusing" if name in _REFUSING else "element"
        case ChainKey(family=family) | JumpKey(family=family):
            return f"rules {family}"
        case VirtualServerKey() | RealServerKey():
            return "server"
    return key.kind


def _last(change: Change) -> int:
    return _ADD_LAST.get(change.key.set, 0) if isinstance(change.key, ElementKey) else 0


def _servers_first(changes: list[Change]) -> tuple[Change, ...]:
    """`changes` with each new virtual server first, followed by its real servers."""
    if not any(isinstance(c.key, VirtualServerKey) and c.old is None for c in changes):
        return tuple(changes)
    ordered: dict[Key, list[Change]] = {}
    for change in changes:
        server = change.key.virtual_server if isinstance(change.key, RealServerKey) else change.key
        ordered.setdefault(server, []).append(change)
    return tuple(
        c for group in ordered.values() for c in sorted(group, key=lambda c: isinstance(c.key, RealServerKey))
    )
