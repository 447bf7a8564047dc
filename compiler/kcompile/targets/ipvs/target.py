"""The ipvs target: what a diff must leave alone, and how each resource is called."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Any

from ...ir.model import Dataplane
from ...plan.diff import Change, diff
from ..base import FrontendView, Key, Program
from .lower import lower
from .render import address_command, ipset_command, scripts, server_command
from .resources import DEVICE, virtual_server_of
from .view import frontends

__all__ = ["HELD_SETS", "IpvsTarget", "without_held"]

HELD_SETS = frozenset(("VIPS", "FRONTENDS"))
"""Sets that name what real servers that drain still need."""


class IpvsTarget:
    """Services as IPVS virtual servers; the keys of a Program are listed in resources.py."""

    name = "ipvs"

    def lower(self, dataplane: Dataplane) -> dict[Key, Any]:
        return lower(dataplane)

    def standing(self, observed: Program) -> tuple[int, ...]:
        return tuple(sorted({key[1] for key in observed if key[0] == "set" and key[2] == "FRONTENDS"}))

    def diff(self, observed: Program, desired: Program) -> tuple[Change, ...]:
        """The generic diff, but for two things: real servers that still drain stay, with the server, address and set entries that
        their connections need; and virtual servers in excluded CIDRs that no set of ours names are left alone.

        Where nothing at all is desired nothing drains.
        """
        changes = diff(observed, desired)
        if not desired:
            return changes
        draining = {k for k, v in observed.items() if k[0] == "rs" and v.weight == 0 and not v.drained and k not in desired}
        excluded = _excluded(observed, desired)
        if not draining and not excluded:
            return changes
        return tuple(
            c
            for c in without_held(changes, draining)
            if c.new is not None or not (c.key in excluded or (c.key[0] == "rs" and virtual_server_of(c.key) in excluded))
        )

    def scripts(self, changes: Iterable[Change]) -> dict[str, str]:
        """Step -> its text: ipset restore's and iptables-restore's as they run, the netlink messages in ipvsadm's and ip's words."""
        return scripts(changes)

    def describe(self, key: Key, value: Any) -> str:
        if key[0] == "device":
            return f"ip link add {DEVICE} type dummy{_unlike(value)}"
        if key[0] in ("set", "element"):
            return "ipset " + ipset_command(key, value)
        if key[0] == "address":
            return "ip " + address_command(key, "" if value is None else value)
        if key[0] in ("vs", "rs"):
            return "ipvsadm " + server_command(key, None, value) + _unlike(value and value.unlike)
        tool = f"{'iptables' if key[1] == 'ip4' else 'ip6tables'} -t {key[2]}"
        if key[0] == "jump":
            return f"{tool} -I {key[3]} 1 {key[4]}"
        return f"{tool} -N {key[3]}" + "".join(f"; -A {rule}" for rule in value or ())

    def frontends(self, program: Program) -> list[FrontendView]:
        return frontends(program)


def _unlike(words: str | None) -> str:
    """What somebody else has changed, as a comment."""
    return f"  # {words}" if words else ""


def without_held(changes: Iterable[Change], draining: Collection[Key]) -> list[Change]:
    """`changes` without those that would take away what the real servers `draining` need."""
    servers = {key[1:5] for key in draining}
    addresses = {(version, address) for version, _, address, _ in servers}
    entries = {(version, f"{address},{protocol}:{port}") for version, protocol, address, port in servers}

    def held(change: Change) -> bool:
        key = change.key
        if change.new is not None:
            return False
        if key[0] == "rs":
            return key in draining
        if key[0] == "vs":
            return key[1:5] in servers
        if key[0] == "address":
            return (key[1], key[2]) in addresses
        return key[0] == "element" and key[2] in HELD_SETS and ((key[1], key[3]) in addresses or (key[1], key[3]) in entries)

    return [change for change in changes if not held(change)]


def _excluded(observed: Program, desired: Program) -> set[Key]:
    """Observed virtual servers in an excluded CIDR that our sets don't name."""
    networks = {
        ipaddress.ip_network(key[3]) for program in (observed, desired) for key in program if key[0] == "element" and key[2] == "EXCLUDED"
    }
    if not networks:
        return set()
    return {
        key
        for key in observed
        if key[0] == "vs"
        and key[2] in ("tcp", "udp", "sctp")
        and ("element", key[1], "FRONTENDS", f"{key[3]},{key[2]}:{key[4]}") not in observed
        and any(ipaddress.ip_address(key[3]) in network for network in networks)
    }
