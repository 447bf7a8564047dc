"""Records as text: a zone file, a hosts file, a Corefile for CoreDNS, or plain data. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .zones import Zones

__all__ = ["corefile", "hosts", "json_data", "zone", "zone_file_name", "zone_files"]


def zone(zones: Zones, name: str) -> Iterator[str]:
    """The zone `name` (absolute) as an RFC 1035 master file, SOA first."""
    return iter(zone_files(zones)[name])


def zone_files(zones: Zones) -> dict[str, list[str]]:
    """Every zone, the domain first, with the lines of its file."""
    files: dict[str, list[str]] = {}
    for name in zones.zones:
        files[name] = [f"$ORIGIN {name}", f"$TTL {zones.ttl}"]
        apex = zones.kinds(name)
        files[name] += [f"@ IN {kind} {data}" for kind in ("SOA", "NS") for data in apex.get(kind, ())]
    for owner, kind, data in sorted(zones):
        name = zones.zone_of(owner)
        if owner != name:
            files[name].append(f"{owner.removesuffix('.' + name)} IN {kind} {data}")
    return files


def hosts(zones: Zones) -> Iterator[str]:
    """Lines for /etc/hosts, an address each: what it can hold, A and AAAA records."""
    names: dict[str, list[str]] = {}
    for owner, kind, data in zones:
        if kind in ("A", "AAAA"):
            names.setdefault(data, []).append(owner.rstrip("."))
    for address, owners in names.items():
        yield f"{address}\t{' '.join(owners)}"


def zone_file_name(name: str) -> str:
    """The name of the file of zone `name` in the Corefile."""
    return f"db.{name.rstrip('.')}"


def corefile(zones: Zones, directory: str) -> Iterator[str]:
    """A Corefile with which CoreDNS serves the zone files in `directory`, one server block a zone."""
    for name in zones.zones:
        yield f"{name.rstrip('.')}:53 {{"
        yield f"    file {directory.rstrip('/')}/{zone_file_name(name)} {{"
        yield "        reload 2s"
        yield "    }"
        yield "    loadbalance"
        yield "    errors"
        yield "}"


def json_data(zones: Zones) -> list[dict[str, Any]]:
    """A mapping for each name and type."""
    sets: dict[tuple[str, str], list[str]] = {}
    for owner, kind, data in zones:
        sets.setdefault((owner, kind), []).append(data)
    return [
        {"name": owner, "type": kind, "ttl": zones.ttl, "data": data} for (owner, kind), data in sets.items()
    ]
