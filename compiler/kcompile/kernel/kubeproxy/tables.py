"""kube-proxy's nft tables: ``ip kube-proxy`` and ``ip6 kube-proxy``."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

from ..nftables import Nft, has_table
from .frontends import ANY, Frontend

__all__ = ["NAME", "families", "frontends", "frontends_in", "remove"]

NAME = "kube-proxy"
_VERSIONS = {"ip": 4, "ip6": 6}
_ADDRESSES = ("service-ips", "no-endpoint-services")
_NODE_PORTS = ("service-nodeports", "no-endpoint-nodeports")


def families() -> tuple[str, ...]:
    """``ip`` and ``ip6``, as far as the table is there."""
    return tuple([family for family in _VERSIONS if has_table(family, NAME)])


def frontends(family: str) -> set[Frontend]:
    """The addresses and ports that the table of `family` answers. Raises KernelError."""
    with Nft() as nft:
        return frontends_in(nft.items(f"list table {family} {NAME}"))


def frontends_in(items: Iterable[tuple[str, dict[str, Any]]]) -> set[Frontend]:
    """The same, of a listing in the form of libnftables-json(5)."""
    return {frontend for kind, body in items if kind == "map" for frontend in _of_map(body)}


def _of_map(body: dict[str, Any]) -> Iterator[Frontend]:
    if body.get("table") != NAME or body.get("name") not in (*_ADDRESSES, *_NODE_PORTS):
        return
    version = _VERSIONS[body["family"]]
    for key, _ in body.get("elem", ()):
        *address, protocol, port = key.get("elem", {}).get("val", key)["concat"]
        where = str(ipaddress.ip_address(address[0])) if address else ANY
        yield Frontend(version, protocol, where, int(port))


def remove(found: Iterable[str]) -> None:
    """Delete the tables of the families `found` in one transaction. Raises KernelError."""
    with Nft() as nft:
        nft.apply("".join(f"delete table {family} {NAME}\n" for family in found))
