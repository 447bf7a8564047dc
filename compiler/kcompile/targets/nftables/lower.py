"""Dataplane -> Program: the ports, then what they share: map definitions and base chains."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...ir.model import Dataplane, Family, Protocol
from ...program import Key
from .base import base_chains
from .ports import PortLowering
from .resources import ChainKey, ElementKey, Map, MapKey, Table, TableKey

__all__ = ["FAMILIES", "lower", "lower_shared"]

FAMILIES = {Family.IPV4: "ip", Family.IPV6: "ip6"}


def lower(dataplane: Dataplane) -> dict[Key, Any]:
    """The nftables Program of `dataplane`, in the order that loads fastest: elements, maps, chains."""
    program: dict[Key, Any] = {}
    for family, name in FAMILIES.items():
        ports = PortLowering(dataplane.settings, name, program)
        for port in dataplane.ports:
            if port.family is family:
                ports.port(port)
        program.update(lower_shared(dataplane, name, ports.maps))
    return program


def lower_shared(dataplane: Dataplane, family: str, maps: Collection[str]) -> dict[Key, Any]:
    """The part of a Program that belongs to no port, given which `maps` the ports use: table, maps, node
    addresses, base chains.
    """
    program: dict[Key, Any] = {}
    used = set(maps)
    version = 6 if family == "ip6" else 4
    addresses = dataplane.node.node_ports(version)
    if addresses is not None and used & {"node-ports", "blocked-node-ports"}:
        used.add("node-addresses")
        for address in addresses:
            if address != "::1" and (
                dataplane.settings.compat.localhost_node_ports or not address.startswith("127.")
            ):
                program[ElementKey(family, "node-addresses", address)] = ("", "")
    definitions = _map_definitions(family)
    for name in sorted(used):
        program[MapKey(family, name)] = definitions[name]
    for name, chain in base_chains(dataplane, family, used).items():
        program[ChainKey(family, name)] = chain
    if program:
        program[TableKey(family)] = Table()
    return program


def _map_definitions(family: str) -> dict[str, Map]:
    """Every map and set that a Program of `family` may define, by name."""
    address = "ipv6_addr" if family == "ip6" else "ipv4_addr"
    by_address, by_port = (address, "inet_proto", "inet_service"), ("inet_proto", "inet_service")
    backend = (address, "inet_service")
    maps = {
        "frontends": Map(by_address, ("verdict",)),
        "node-ports": Map(by_port, ("verdict",)),
        "blocked": Map(by_address, ("verdict",)),
        "blocked-external": Map(by_address, ("verdict",)),
        "blocked-node-ports": Map(by_port, ("verdict",)),
        "guarded": Map(by_address, ("verdict",)),
        "cluster-ips": Map((address,)),
        "node-addresses": Map((address,)),
        "hairpin": Map((address, address)),
    }
    for protocol in Protocol:
        for pool in ("backends", "insiders"):
            maps[f"{protocol.lower}-{pool}"] = Map((address, "inet_service", "integer"), backend)
            maps[f"{protocol.lower}-node-port-{pool}"] = Map(("inet_service", "integer"), backend)
    return maps
