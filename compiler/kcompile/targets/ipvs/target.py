"""The ipvs target: a diff that keeps draining and excluded servers, and the text of each resource."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Any

from ...ir.model import Dataplane
from ...program import Change, Key, Program, diff
from ..base import FrontendView
from ..xtables.keys import ChainKey, JumpKey
from .lower import lower
from .render import address_command, ipset_command, scripts, server_command
from .resources import (
    DEVICE,
    FWMARK,
    AddressKey,
    ElementKey,
    RealServer,
    RealServerKey,
    SetKey,
    VirtualServerKey,
)
from .view import frontends

__all__ = ["HELD_SETS", "IpvsTarget", "needed_by", "without_held"]

HELD_SETS = frozenset(("VIPS", "FRONTENDS"))
"""Sets with elements that draining real servers still need."""


class IpvsTarget:
    """Services as IPVS virtual servers; the keys of a Program are listed in resources.py."""

    name = "ipvs"
    uses_conntrack = True
    translates_in_nat = False
    stands_as_one = False

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        return tuple(
            sorted({key.version for key in observed if isinstance(key, SetKey) and key.name == "FRONTENDS"})
        )

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        """The generic diff, with two exceptions unless `desired` is empty.

        Draining real servers stay, with the virtual server, address and set elements that their connections
        need. Virtual servers in excluded CIDRs that our sets don't name stay.
        """
        changes = diff(observed, desired)
        if not desired:
            return changes
        draining = {
            k for k, v in observed.items() if isinstance(k, RealServerKey) and _drains(v) and k not in desired
        }
        excluded = _excluded(observed, desired)
        if not draining and not excluded:
            return changes
        return tuple(
            c for c in without_held(changes, draining) if c.new is not None or _server(c.key) not in excluded
        )

    def scripts(self, changes: Iterable[Change]) -> dict[str, str]:
        """Step -> its text: ipset restore's and iptables-restore's as they run, the netlink messages in
        ipvsadm's and ip's words.
        """
        return scripts(changes)

    def describe(self, key: Key, value: Any) -> str:
        match key:
            case ChainKey():
                return key.describe(value)
            case JumpKey():
                return key.describe()
            case SetKey() | ElementKey():
                return "ipset " + ipset_command(key, value)
            case AddressKey():
                return "ip " + address_command(key, "" if value is None else value)
            case VirtualServerKey() | RealServerKey():
                return "ipvsadm " + server_command(key, None, value) + _unlike(value and value.unlike)
        return f"ip link add {DEVICE} type dummy{_unlike(value)}"

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)


def _unlike(words: str | None) -> str:
    """A change by others, as a comment."""
    return f"  # {words}" if words else ""


def _drains(server: RealServer) -> bool:
    return server.weight == 0 and not server.drained


def _server(key: Key) -> Key:
    """The virtual server of a real server; any other key itself."""
    return key.virtual_server if isinstance(key, RealServerKey) else key


def without_held(changes: Iterable[Change], draining: Collection[RealServerKey]) -> list[Change]:
    """`changes` without those that would take away what the real servers `draining` need."""
    held = needed_by(draining)
    return [change for change in changes if change.new is not None or change.key not in held]


def needed_by(draining: Iterable[RealServerKey]) -> set[Key]:
    """What the connections of the real servers `draining` need: these, and what leads to them."""
    needed: set[Key] = set()
    for key in draining:
        needed |= {key, key.virtual_server}
        if key.protocol != FWMARK:
            frontend = f"{key.address},{key.protocol}:{key.port}"
            needed.add(AddressKey(key.version, key.address))
            needed.add(ElementKey(key.version, "VIPS", key.address))
            needed.add(ElementKey(key.version, "FRONTENDS", frontend))
    return needed


def _excluded(observed: Program, desired: Program) -> set[Key]:
    """Observed virtual servers in an excluded CIDR that our sets don't name."""
    known = (*observed, *desired)
    networks = {
        ipaddress.ip_network(key.entry)
        for key in known
        if isinstance(key, ElementKey) and key.set == "EXCLUDED"
    }
    if not networks:
        return set()

    def foreign(key: VirtualServerKey) -> bool:
        if (
            key.protocol == FWMARK
            or ElementKey(key.version, "FRONTENDS", f"{key.address},{key.protocol}:{key.port}") in observed
        ):
            return False
        return any(ipaddress.ip_address(key.address) in network for network in networks)

    return {key for key in observed if isinstance(key, VirtualServerKey) and foreign(key)}
