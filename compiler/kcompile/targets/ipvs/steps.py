"""The order of an apply: no live VIP is ever without a real server, and nothing points at what isn't there.

New virtual servers get their real servers before a rule, a mark or an address leads to them; what leads to
the old ones goes before they do. A refusal (REJECT, DROP, a source range) stands before the server behind it
goes and leaves after it came.
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
    """What carries a step out; `value` is its label for people."""

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


# sets that lead somewhere: filled when their virtual servers are there
_LEADING = frozenset(("INSIDE", "NP-INSIDE", "NODEPORTS", "STICKY"))
_REFUSING = frozenset(("REJECT", "DROP", "NP-REJECT", "NP-DROP"))
# ranges are known before they are asked for, and after
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
    # a family whose rules all go keeps them until what they serve has gone
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
    """Each new real server right after its virtual server, which comes first.

    Lowering has them so; a diff of an observed program keeps that order.
    """
    if not any(isinstance(c.key, VirtualServerKey) and c.old is None for c in changes):
        return tuple(changes)
    ordered: dict[Key, list[Change]] = {}
    for change in changes:
        server = change.key.virtual_server if isinstance(change.key, RealServerKey) else change.key
        ordered.setdefault(server, []).append(change)
    return tuple(
        c for group in ordered.values() for c in sorted(group, key=lambda c: isinstance(c.key, RealServerKey))
    )
