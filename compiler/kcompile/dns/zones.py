"""Looks names up as an authoritative server does (RFC 1034 4.3.2; negative answers: RFC 2308). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .records import Records

__all__ = ["NAME_ERROR", "NO_ERROR", "REFUSED", "Answer", "RRset", "Zones"]

NO_ERROR, NAME_ERROR, REFUSED = 0, 3, 5
_MAX_CNAMES = 8


class RRset(msgspec.Struct, frozen=True):
    """Records of one name and type, as Records holds them."""

    name: str
    kind: str
    data: Sequence[str]


class Answer(msgspec.Struct, frozen=True):
    """A reply: `rcode`, the records, and for a negative answer the SOA whose TTL says how long it holds."""

    rcode: int
    answers: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()


class Zones:
    """Looks names up in `records`; `records.names` must not change any more."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._names = records.names
        self._above = _above(records)

    def zone_of(self, name: str) -> str:
        """The zone of `name`; empty for a name in none of the server's zones."""
        return next((z for z in self.records.zones if name == z or name.endswith("." + z)), "")

    def lookup(self, name: str, kind: str) -> Answer:
        """The answer to a question of `kind` (``ANY``: all records) for `name` (absolute, any case)."""
        name = name.lower()
        if not self.zone_of(name):
            return Answer(REFUSED)
        found: list[RRset] = []
        for _ in range(_MAX_CNAMES):
            kinds = self._names.get(name)
            if kinds and kind == "ANY":
                found += [RRset(name, each, data) for each, data in kinds.items()]
            elif kinds and kind in kinds:
                found.append(RRset(name, kind, kinds[kind]))
            elif kinds and "CNAME" in kinds:
                found.append(RRset(name, "CNAME", kinds["CNAME"]))
                name = kinds["CNAME"][0]
                if self.zone_of(name):
                    continue
                return Answer(NO_ERROR, tuple(found))
            else:
                exists = kinds is not None or name in self._above
                return Answer(NO_ERROR if exists else NAME_ERROR, tuple(found), (self._soa(name),))
            return Answer(NO_ERROR, tuple(found), additional=self._targets(found) if kind == "SRV" else ())
        return Answer(NO_ERROR, tuple(found))

    def _soa(self, name: str) -> RRset:
        zone = self.zone_of(name)
        return RRset(zone, "SOA", self._names[zone]["SOA"])

    def _targets(self, found: list[RRset]) -> tuple[RRset, ...]:
        """The addresses of the hosts that SRV records name."""
        hosts = dict.fromkeys(data.rpartition(" ")[2] for rrset in found for data in rrset.data)
        targets: list[RRset] = []
        for host in hosts:
            sets = self._names.get(host, {})
            targets += [RRset(host, kind, data) for kind, data in sets.items() if kind in ("A", "AAAA")]
        return tuple(targets)


def _above(records: Records) -> set[str]:
    """Names that only have longer names below them: they exist, without records (empty non-terminals, RFC
    4592 2.2.2).
    """
    above: set[str] = set()
    zones = set(records.zones)
    for name in records.names:
        while name not in zones:
            name = name.partition(".")[2]
            if not name or name in above:
                break
            above.add(name)
    return above
