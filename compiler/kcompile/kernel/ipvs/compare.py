"""Whether the kernel has what it should have of mode ipvs, at a cost that an agent can pay every sync period.

All is looked at every time, but two things in turns: the real servers of some virtual servers, and the
elements of one set. How many elements a set has is seen every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import cycle
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Literal

from ...program import Key, Program
from ...targets.ipvs import IpvsTarget
from ...targets.ipvs.resources import (
    SETS,
    AddressKey,
    DeviceKey,
    ElementKey,
    RealServerKey,
    SetKey,
    VirtualServerKey,
)
from ...targets.xtables.keys import ChainKey, JumpKey
from ...targets.xtables.parse import IPVS
from .. import iptables
from ..netlink import Sockets
from . import dummy, ipset
from .messages import as_dumped, decode_head
from .node import TABLES, is_ours
from .read import heads, real_servers

__all__ = ["Comparison"]

_Some = Mapping[Any, Any]
"""The resources of one kind in a Program."""
_AT_ONCE = 1024
"""Virtual servers whose real servers are read in one turn: 20 us each."""


class Comparison:
    """Remembers whose turn it is."""

    def __init__(self, backend: Literal["legacy", "nft"], sockets: Sockets) -> None:
        self._backend, self._sockets = backend, sockets
        self._turn = 0
        self._sets: Iterator[SetKey] = cycle([SetKey(v, name) for v in (4, 6) for name in SETS])

    def differs(self, expected: Program, draining: Collection[Key]) -> bool:
        """Whether something is missing, other or too much. `draining`: what may be there too."""
        by_kind: dict[type[Key], dict[Any, Any]] = {}
        for key, value in expected.items():
            by_kind.setdefault(type(key), {})[key] = value
        return (
            self._rules(by_kind.get(ChainKey, {}) | by_kind.get(JumpKey, {}))
            or self._addresses(DeviceKey() in expected, by_kind.get(AddressKey, {}), draining)
            or self._sizes(by_kind.get(SetKey, {}), by_kind.get(ElementKey, {}), draining)
            or self._virtual_servers(expected, by_kind.get(VirtualServerKey, {}), draining)
            or self._real_servers(by_kind, draining)
            or self._members(by_kind.get(ElementKey, {}), draining)
        )

    def _rules(self, expected: Program) -> bool:
        return iptables.observe(self._backend, TABLES, IPVS) != expected

    def _addresses(self, wanted: bool, expected: Collection[AddressKey], draining: Collection[Key]) -> bool:
        if not dummy.index():
            return wanted
        found = dummy.addresses(self._sockets)
        held = {_packed(key) for key in draining if isinstance(key, AddressKey) and key not in expected}
        missing = {_packed(key) for key in expected} ^ found
        return not wanted or not dummy.is_up() or bool(missing - held)

    def _sizes(self, sets: _Some, elements: Collection[ElementKey], draining: Collection[Key]) -> bool:
        found = ipset.sizes(self._sockets)
        counts = Counter((key.version, key.set) for key in elements)
        counts.update(
            (key.version, key.set) for key in draining if isinstance(key, ElementKey) and key not in elements
        )
        return found != {key: (definition, counts[key.version, key.name]) for key, definition in sets.items()}

    def _virtual_servers(self, expected: Program, servers: _Some, draining: Collection[Key]) -> bool:
        found = heads(self._sockets)
        wanted = {as_dumped(key, value) for key, value in servers.items()}
        if not wanted <= found:
            return True
        decoded = (decode_head(one) for one in found - wanted)
        more = {one[0]: one[1] for one in decoded if one is not None}
        ours: dict[Key, Any] = {
            key: value for key, value in more.items() if key not in draining and is_ours(key, expected)
        }
        return bool(ours) and bool(IpvsTarget().diff({**expected, **ours}, expected))

    def _real_servers(self, by_kind: Mapping[type[Key], _Some], draining: Collection[Key]) -> bool:
        """Those of the next virtual servers."""
        servers = list(by_kind.get(VirtualServerKey, ()))
        first = self._turn if self._turn < len(servers) else 0
        self._turn = first + _AT_ONCE
        chosen = set(servers[first : self._turn])
        wanted = {
            key: value
            for key, value in by_kind.get(RealServerKey, {}).items()
            if key.virtual_server in chosen
        }
        found = real_servers(chosen, self._sockets)
        return {key: value for key, value in found.items() if key in wanted or key not in draining} != wanted

    def _members(self, elements: _Some, draining: Collection[Key]) -> bool:
        """Those of the next set that has any."""
        filled = {(key.version, key.set) for key in elements}
        for _ in range(2 * len(SETS)):
            home = next(self._sets)
            if (home.version, home.name) in filled:
                break
        else:
            return False
        wanted = {k: v for k, v in elements.items() if (k.version, k.set) == (home.version, home.name)}
        found = ipset.members(home, self._sockets)
        return {key: value for key, value in found.items() if key in wanted or key not in draining} != wanted


def _packed(key: AddressKey) -> bytes:
    return inet_pton(AF_INET if key.version == 4 else AF_INET6, key.address)
