"""All rules of the network namespace, whoever wrote them, for the packet model. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .. import spawn
from ..errors import KernelError, UnsupportedError
from ..program import Program
from ..trace.journey import Rules
from ..trace.live import live_chains
from ..trace.lowered import host_with
from ..trace.packet import Host
from . import iptables, sysctl
from .drivers import installed
from .facts import interface_addresses
from .nftables import Nft, table_flags

__all__ = ["LiveRules", "Machine", "live_machine", "live_node", "live_rules"]

_BY_PROGRAMS = ("ipvs", "xdp")
_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


class LiveRules(NamedTuple):
    """`nft`: the document of ``nft -j list ruleset``, without the tables of iptables-nft. `saves`: what
    iptables-save prints of each variant, with the IP version. `programs`: what modes ipvs and xdp hold, by
    name. `unread`: what couldn't be read, and why.
    """

    nft: dict[str, Any]
    saves: list[tuple[int, str]]
    programs: dict[str, Program]
    unread: list[str]


class Machine(NamedTuple):
    """What a walk must know of the node: its addresses, routes, and whether it forwards."""

    addresses: frozenset[str]
    route: Callable[[str], str | None]
    forwards: Callable[[int], bool]


def live_rules(directory: Path) -> LiveRules:
    """The rules of the current network namespace, whose run directory is `directory`."""
    unread: list[str] = []
    saves: list[tuple[int, str]] = []
    theirs: set[tuple[str, str]] = set()
    backends: tuple[iptables.Backend, ...] = ("legacy", "nft")
    for backend in backends:
        try:
            for family, text in iptables.saved(backend).items():
                version = int(family.removeprefix("ip"))
                saves.append((version, text))
                if backend == "nft":
                    name = "ip" if version == 4 else "ip6"
                    theirs |= {(name, line[1:].strip()) for line in text.splitlines() if line.startswith("*")}
        except KernelError as error:
            unread.append(f"iptables-{backend}: {error}")
    items: list[Any] = []
    try:
        with Nft() as nft:
            items = [
                {kind: _flagged(body) if kind == "table" else body}
                for kind, body in nft.items("list ruleset", numeric=True)
                if (body.get("family"), body["name"] if kind == "table" else body.get("table")) not in theirs
            ]
    except (KernelError, UnsupportedError) as error:
        unread.append(f"nftables: {error}")
    programs = {
        held.driver.name: held.held for held in installed("", directory) if held.driver.name in _BY_PROGRAMS
    }
    return LiveRules({"nftables": items}, saves, programs, unread)


def _flagged(table: dict[str, Any]) -> dict[str, Any]:
    """`table` with its flags, which not every nft lists as data: a dormant one's rules don't run."""
    return {**table, "flags": list(table_flags(table["family"], table["name"]))}


def live_machine() -> Machine:
    """The addresses, routes and forwarding of the current network namespace, asked while it is current."""
    forwards = {version: sysctl.read(name) == "1" for version, name in _FORWARDING.items()}
    return Machine(frozenset(interface_addresses()), cache(_interface_to), forwards.__getitem__)


def live_node(directory: Path) -> tuple[Rules, Host, list[str]]:
    """All rules of the current network namespace, the node that they are on, and what couldn't be read."""
    read, machine = live_rules(directory), live_machine()
    host = Host(addresses=machine.addresses, route=machine.route, forwards=machine.forwards)
    for held in read.programs.values():
        host = host_with(held, host)  # the addresses that mode ipvs binds, and its ipsets
    return Rules(live_chains(read.nft, read.saves, read.programs)), host, read.unread


def _interface_to(address: str) -> str | None:
    """The interface by which packets to `address` leave; None where there is no route."""
    done = spawn.run(["ip", "-json", "route", "get", address], capture_output=True)
    if done.returncode:
        return None
    (route,) = json.loads(done.stdout)
    unreachable = route.get("type") in ("unreachable", "blackhole", "prohibit")
    return None if unreachable else str(route["dev"])
