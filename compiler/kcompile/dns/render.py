"""Records as text: a zone file, a hosts file, a Corefile for CoreDNS, or plain data. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .records import Records
from .zones import Zones

__all__ = ["corefile", "hosts", "json_data", "zone", "zone_file_name"]


def zone(records: Records, name: str) -> Iterator[str]:
    """The zone `name` (absolute) as an RFC 1035 master file, SOA first."""
    zones = Zones(records)
    yield f"$ORIGIN {name}"
    yield f"$TTL {records.ttl}"
    apex = records.names.get(name, {})
    for kind in ("SOA", "NS"):
        for data in apex.get(kind, ()):
            yield f"@ IN {kind} {data}"
    for owner, kind, data in sorted(records):
        if owner != name and zones.zone_of(owner) == name:
            yield f"{owner.removesuffix('.' + name)} IN {kind} {data}"


def hosts(records: Records) -> Iterator[str]:
    """Lines for /etc/hosts, an address each: what it can hold, A and AAAA records."""
    names: dict[str, list[str]] = {}
    for owner, kind, data in records:
        if kind in ("A", "AAAA"):
            names.setdefault(data, []).append(owner.rstrip("."))
    for address, owners in names.items():
        yield f"{address}\t{' '.join(owners)}"


def zone_file_name(name: str) -> str:
    """The name of the file of zone `name` in the Corefile."""
    return f"db.{name.rstrip('.')}"


def corefile(records: Records, directory: str) -> Iterator[str]:
    """A Corefile with which CoreDNS serves the zone files in `directory`, one server block a zone."""
    for name in records.zones:
        yield f"{name.rstrip('.')}:53 {{"
        yield f"    file {directory.rstrip('/')}/{zone_file_name(name)} {{"
        yield "        reload 2s"
        yield "    }"
        yield "    loadbalance"
        yield "    errors"
        yield "}"


def json_data(records: Records) -> list[dict[str, Any]]:
    """A mapping for each name and type."""
    return [
        {"name": owner, "type": kind, "ttl": records.ttl, "data": list(data)}
        for owner, kinds in records.names.items()
        for kind, data in kinds.items()
    ]
