"""Records as the bytes of a message (RFC 1035 3.2 and 4.1). Pure.

Names are compressed against the question's name alone, which is at the same place in every message: so
records can be put in any order, and cut anywhere. That of an SRV record's target isn't compressed (RFC 2782).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from functools import cached_property

from .zones import RRset

__all__ = ["TYPES", "Packer", "offsets", "wire_name"]

TYPES = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "SOA": 6,
    "PTR": 12,
    "TXT": 16,
    "AAAA": 28,
    "SRV": 33,
    "ANY": 255,
}
"""The types that records have, and ANY, which asks for all."""
_IN = 1
_QUESTION_AT = 12  # bytes of the header
_POINTER = 0xC000
_ASKED = (_POINTER | _QUESTION_AT).to_bytes(2)
_FIXED = struct.Struct("!HHIH")
_SRV, _SOA = struct.Struct("!HHH"), struct.Struct("!IIIII")


def wire_name(name: str) -> bytes:
    """An absolute name, uncompressed."""
    labels = name.rstrip(".").encode().split(b".") if name != "." else []
    return b"".join([bytes((len(label),)) + label for label in labels]) + b"\0"


class Packer:
    """Packs records for answers to a question about `name` (absolute, lower case); `ttl` in seconds."""

    def __init__(self, name: str, ttl: int) -> None:
        self._question, self._ttl = name, ttl
        self._kept: dict[str, bytes] = {}

    @cached_property
    def _pointers(self) -> dict[str, bytes]:
        """To the question's name, and to those above it."""
        found: dict[str, bytes] = {}
        at, name = _QUESTION_AT, self._question
        while name.strip("."):
            found[name] = (_POINTER | at).to_bytes(2)
            label, _, name = name.partition(".")
            at += 1 + len(label)
        return found

    def records(self, rrset: RRset) -> list[bytes]:
        """Every record of `rrset`."""
        is_asked = rrset.name == self._question != "."
        owner = _ASKED if is_asked else self._name(rrset.name)
        kind, ttl = TYPES[rrset.kind], self._ttl
        if rrset.kind == "A":
            head = owner + _FIXED.pack(kind, _IN, ttl, 4)
            return [head + socket.inet_aton(data) for data in rrset.data]
        if rrset.kind == "AAAA":
            head = owner + _FIXED.pack(kind, _IN, ttl, 16)
            return [head + socket.inet_pton(socket.AF_INET6, data) for data in rrset.data]
        pack = self._packs[rrset.kind]
        found = [pack(self, data) for data in rrset.data]
        return [owner + _FIXED.pack(kind, _IN, ttl, len(data)) + data for data in found]

    def _name(self, name: str) -> bytes:
        """A name that ends in a pointer to the question, where they end alike."""
        pointer = self._pointers.get(name)
        if pointer is not None:
            return pointer
        label, _, rest = name.partition(".")
        if not label:
            return b"\0"
        return bytes((len(label),)) + label.encode() + self._name(rest)

    def _srv(self, data: str) -> bytes:
        priority, weight, port, target = data.split(" ")
        label, _, rest = target.partition(".")
        tail = self._kept.get(rest)
        if tail is None:
            tail = self._kept[rest] = wire_name(rest)
        return b"%b%c%b%b" % (
            _SRV.pack(int(priority), int(weight), int(port)),
            len(label),
            label.encode(),
            tail,
        )

    def _soa(self, data: str) -> bytes:
        server, mailbox, *numbers = data.split(" ")
        return self._name(server) + self._name(mailbox) + _SOA.pack(*map(int, numbers))

    def _txt(self, data: str) -> bytes:
        text = data.strip('"').encode()
        return bytes((len(text),)) + text

    _packs: dict[str, Callable[[Packer, str], bytes]] = {
        "SRV": _srv,
        "SOA": _soa,
        "NS": _name,
        "CNAME": _name,
        "PTR": _name,
        "TXT": _txt,
    }


def offsets(records: Sequence[bytes]) -> list[int]:
    """Where each of `records` starts in all of them in a row, and at last where the last one ends."""
    found, at = [0], 0
    for record in records:
        at += len(record)
        found.append(at)
    return found
