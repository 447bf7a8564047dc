"""Looks names up as an authoritative server does (RFC 1034 4.3.2; negative answers: RFC 2308).

Every record has an owner, the object that it comes from. A change replaces the records of one owner, and
costs as much as these are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from .records import Names

__all__ = ["NAME_ERROR", "NO_ERROR", "REFUSED", "Answer", "RRset", "Zones"]

NO_ERROR, NAME_ERROR, REFUSED = 0, 3, 5
_MAX_CNAMES = 8
_NAME_HOSTS = {"SRV", "NS"}
"""Types whose answers have addresses of hosts with them."""

_Kinds = Mapping[str, Sequence[str]]


class RRset(msgspec.Struct, frozen=True, gc=False):
    """Records of one name and type; the data in the text of a zone file."""

    name: str
    kind: str
    data: Sequence[str]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A reply: `rcode`, the records, and for a negative answer the SOA whose TTL says how long it holds.

    `zone`: the question's. `outside`: the last CNAME's target, where that is in none of the zones.
    `additional` can be taken once.
    """

    rcode: int
    zone: str = ""
    answers: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: Iterable[RRset] = ()
    outside: str = ""


class Zones:
    """Names, by owner. `domain` is absolute; `ttl` in seconds; `serial` is that of every zone.

    A name exists if it has records, or names below it have (empty non-terminals, RFC 4592 2.2.2).
    """

    def __init__(self, domain: str, ttl: int, serial: int = 1) -> None:
        self.domain, self.ttl, self.serial = domain, ttl, serial
        self._names: dict[str, dict[str, _Kinds]] = {}  # name -> owner -> type -> data
        self._owned: dict[str, tuple[str, ...]] = {}  # owner -> names
        self._below: dict[str, int] = {}  # name -> how many exist directly below it
        self._zones: dict[str, int] = {}  # name -> how many owners give it an SOA
        self._count = 0

    def change(self, owner: str, names: Names | None) -> set[str]:
        """From now on `owner` has these records; None or empty: it is gone. Returns the names whose answers
        that changes: at which it has other records, or names hosts that have.
        """
        return set().union(*self.changing(owner, names))

    def changing(self, owner: str, names: Names | None) -> Iterator[set[str]]:
        """As `change`, name by name; those that name hosts come once more at the end. It has to be run to its
        end before the next change.
        """
        names = names or {}
        gone = [name for name in self._owned.get(owner, ()) if name not in names]
        self._owned[owner] = (*names, *gone)
        is_changed = bool(gone)
        for name, kinds in names.items():
            if self._put(name, owner, kinds):
                is_changed = True
                yield {name}
        for name in gone:
            self._drop(name, owner)
            yield {name}
        if is_changed:
            yield {name for name, kinds in names.items() if _NAME_HOSTS & kinds.keys()}
        if names:
            self._owned[owner] = tuple(names)
        else:
            del self._owned[owner]

    def _put(self, name: str, owner: str, kinds: _Kinds) -> bool:
        """Whether these are other records than those that `owner` has there."""
        owners = self._names.get(name)
        if owners is None:
            owners = self._names[name] = {}
            self._rise(name)
        before = owners.get(owner, {})
        if before == kinds:
            return False
        owners[owner] = kinds
        self._count_records(name, before, -1)
        self._count_records(name, kinds, 1)
        return True

    def _drop(self, name: str, owner: str) -> None:
        owners = self._names[name]
        self._count_records(name, owners.pop(owner), -1)
        if not owners:
            del self._names[name]
            self._sink(name)

    def _count_records(self, name: str, kinds: _Kinds, sign: int) -> None:
        """`kinds` have come to `name` (`sign` 1), or gone (-1)."""
        self._count += sign * sum(map(len, kinds.values()))
        if "SOA" in kinds:
            self._zones[name] = self._zones.get(name, 0) + sign
            if not self._zones[name]:
                del self._zones[name]

    def _rise(self, name: str) -> None:
        """`name` has records now: it and the names above it exist."""
        existed = name in self._below
        while name and not existed:
            name = name.partition(".")[2]
            existed = self.exists(name)
            self._below[name] = self._below.get(name, 0) + 1

    def _sink(self, name: str) -> None:
        """`name` has no records any more: it doesn't exist, nor do the names above it, unless others do."""
        while name and not self.exists(name):
            name = name.partition(".")[2]
            self._below[name] -= 1
            if not self._below[name]:
                del self._below[name]

    def __len__(self) -> int:
        """The number of records."""
        return self._count

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Every record: name, type, data."""
        for name in self._names:
            for kind, values in self.kinds(name).items():
                for data in values:
                    yield name, kind, data

    @property
    def owners(self) -> tuple[str, ...]:
        """Every owner."""
        return tuple(self._owned)

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones, absolute; the domain first."""
        return tuple(sorted(self._zones, key=lambda zone: (zone != self.domain, zone)))

    def owners_of(self, name: str, kind: str, data: str) -> list[str]:
        """The owners of one record."""
        owners = self._names.get(name, {})
        return [owner for owner, kinds in owners.items() if data in self._dated(kinds.get(kind, ()), kind)]

    def exists(self, name: str) -> bool:
        """Whether there is such a name, with records or without."""
        return name in self._names or name in self._below

    def has(self, name: str, kind: str) -> bool:
        """Whether `name` has records for a question of `kind`: of that type, or a CNAME."""
        wanted = (kind, "CNAME")
        owners = self._names.get(name)
        if not owners:
            return False
        return kind == "ANY" or any(each in kinds for kinds in owners.values() for each in wanted)

    def zone_of(self, name: str) -> str:
        """The zone of `name`; empty for a name in none of the server's zones."""
        while name:
            if name in self._zones:
                return name
            name = name.partition(".")[2]
        return ""

    def kinds(self, name: str) -> _Kinds:
        """The records at `name`: type -> data. Empty without any."""
        owners = self._names.get(name)
        if not owners:
            return {}
        if len(owners) == 1:
            (merged,) = owners.values()
        else:
            merged = _merged(owners.values())
        if "SOA" in merged:
            merged = {**merged, "SOA": self._dated(merged["SOA"], "SOA")}
        return merged

    def _dated(self, data: Sequence[str], kind: str) -> Sequence[str]:
        return [self._with_serial(each) for each in data] if kind == "SOA" else data

    def _with_serial(self, soa: str) -> str:
        server, mailbox, _, *times = soa.split(" ")
        return " ".join([server, mailbox, str(self.serial), *times])

    def lookup(self, name: str, kind: str) -> Answer:
        """The answer to a question of `kind` (``ANY``: all records) for `name` (absolute, lower case)."""
        zone = self.zone_of(name)
        if not zone:
            return Answer(REFUSED)
        found: list[RRset] = []
        seen = {name}
        while True:
            kinds = self.kinds(name)
            if kind == "ANY" and kinds:
                found += [RRset(name, each, data) for each, data in kinds.items()]
            elif kind in kinds:
                found.append(RRset(name, kind, kinds[kind]))
            elif "CNAME" in kinds:
                found.append(RRset(name, "CNAME", kinds["CNAME"]))
                name = kinds["CNAME"][0]
                if not self.zone_of(name):
                    return Answer(NO_ERROR, zone, tuple(found), outside=name)
                if name in seen or len(seen) == _MAX_CNAMES:
                    return Answer(NO_ERROR, zone, tuple(found))
                seen.add(name)
                continue
            else:
                rcode = NO_ERROR if self.exists(name) else NAME_ERROR
                return Answer(rcode, zone, tuple(found), (self.soa(self.zone_of(name)),))
            names_hosts = kind == "ANY" or kind in _NAME_HOSTS
            return Answer(
                NO_ERROR, zone, tuple(found), additional=self._targets(found) if names_hosts else ()
            )

    def soa(self, zone: str) -> RRset:
        """The SOA record of `zone`."""
        return RRset(zone, "SOA", self.kinds(zone)["SOA"])

    def _targets(self, found: Iterable[RRset]) -> Iterator[RRset]:
        """The addresses of the hosts that SRV and NS records name, looked up as they are taken."""
        named = [rrset.data for rrset in found if rrset.kind in _NAME_HOSTS]
        hosts = dict.fromkeys([data.rpartition(" ")[2] for data in itertools.chain.from_iterable(named)])
        for host in hosts:
            for kind, data in self.kinds(host).items():
                if kind in ("A", "AAAA"):
                    yield RRset(host, kind, data)


def _merged(all_of: Iterable[_Kinds]) -> dict[str, Sequence[str]]:
    """Records of several owners at one name, each once."""
    merged: dict[str, dict[str, None]] = {}
    for kinds in all_of:
        for kind, values in kinds.items():
            merged.setdefault(kind, {}).update(dict.fromkeys(values))
    return {kind: list(values) for kind, values in merged.items()}
