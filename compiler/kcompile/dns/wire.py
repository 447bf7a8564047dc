"""Questions to answers, as bytes (RFC 1035; EDNS: RFC 6891). dnspython makes each answer once; then its bytes
are cached.

The cache holds everything after the question: the question itself is echoed byte by byte, in the case it was
asked in.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from .zones import REFUSED, Answer, RRset, Zones

__all__ = ["MAX_UDP", "Answerer"]

MAX_UDP = 1232
"""Bytes that a UDP answer has at most, whatever the client says that it takes: more would be fragmented (DNS
flag day 2020).
"""
_MAX_TCP, _PLAIN_UDP = 65535, 512
_FORMAT_ERROR, _NOT_IMPLEMENTED, _BAD_VERSION = 1, 4, 16
_QR, _OPCODE, _AA, _RD, _CD = 0x8000, 0x7800, 0x0400, 0x0100, 0x0010
_IN, _OPT, _ANY, _TRANSFERS = 1, 41, 255, (251, 252)
_KEPT = 65_536  # answers; a client that asks for random names must not fill the memory
_ROTATIONS = 8
_HEADER = struct.Struct("!HHHHHH")


class _Edns(NamedTuple):
    size: int
    version: int


class _MalformedError(Exception):
    """The message can't be read."""


class Answerer:
    """Answers questions about `zones`. Not for several threads at once."""

    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        # -> (flags, [the counts and the rest of the answer after the question])
        self._kept: dict[tuple[bytes, int], tuple[int, list[bytes]]] = {}
        self._turn = 0

    def answer(self, message: bytes, *, tcp: bool = False) -> bytes | None:
        """The reply to `message`; None for a message that gets none (too short, or itself a reply)."""
        if len(message) < 12:
            return None
        number, flags, questions, answers, authority, additional = _HEADER.unpack_from(message)
        if flags & _QR:
            return None
        back = _QR | (flags & (_OPCODE | _RD | _CD))
        if flags & _OPCODE:
            return _HEADER.pack(number, back | _NOT_IMPLEMENTED, 0, 0, 0, 0)
        try:
            if questions != 1 or answers or authority:
                raise _MalformedError
            end = _end_of_name(message, 12) + 4
            if end > len(message):
                raise _MalformedError
            edns = _edns(message, end, additional)
        except _MalformedError:
            return _HEADER.pack(number, back | _FORMAT_ERROR, 0, 0, 0, 0)
        limit = _MAX_TCP if tcp else min(max(edns.size, _PLAIN_UDP), MAX_UDP) if edns else _PLAIN_UDP
        key = (
            message[12 : end - 4].lower() + message[end - 4 : end],
            (limit << 1 | (edns is not None)) << 8 | (edns.version if edns else 0),
        )
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[key] = self._made(message[12:end], edns, limit)
        result, tails = found
        self._turn += 1
        tail = tails[self._turn % len(tails)]
        return b"%b%b%b%b" % (message[:2], (back | result).to_bytes(2), tail[:8], message[12:end] + tail[8:])

    def _made(self, question: bytes, edns: _Edns | None, limit: int) -> tuple[int, list[bytes]]:
        """The flags to add, and for each rotation the four counts and the bytes after the question."""
        import dns.message
        import dns.rcode

        query: Any = dns.message.from_wire(_HEADER.pack(0, 0, 1, 0, 0, 0) + question)
        asked = query.question[0]
        answer = self._found(asked, edns)
        tails, flags = [], 0
        longest = max((len(rrset.data) for rrset in answer.answers), default=1)
        for turn in range(min(longest, _ROTATIONS)):
            response: Any = dns.message.make_response(query)
            if answer.rcode != REFUSED:
                response.flags |= _AA
            response.answer = [self._rrset(rrset, turn) for rrset in answer.answers]
            response.authority = [self._rrset(rrset, 0) for rrset in answer.authority]
            response.additional = [self._rrset(rrset, turn) for rrset in answer.additional]
            if edns:
                response.use_edns(0, payload=MAX_UDP)
            response.set_rcode(dns.rcode.Rcode(answer.rcode))
            wire = _fitting(response, limit)
            flags = int.from_bytes(wire[2:4]) & ~_QR
            tails.append(wire[4:12] + wire[12 + len(question) :])
        return flags, tails

    def _found(self, asked: Any, edns: _Edns | None) -> Answer:
        import dns.rdatatype

        if edns and edns.version:
            return Answer(_BAD_VERSION)
        if asked.rdclass not in (_IN, _ANY) or asked.rdtype in _TRANSFERS:
            return Answer(REFUSED)
        kind = "ANY" if asked.rdtype == _ANY else dns.rdatatype.to_text(asked.rdtype)
        return self.zones.lookup(asked.name.to_text(), kind)

    def _rrset(self, rrset: RRset, turn: int) -> Any:
        import dns.rrset

        at = turn % len(rrset.data)
        return dns.rrset.from_text(
            rrset.name, self.zones.records.ttl, "IN", rrset.kind, *rrset.data[at:], *rrset.data[:at]
        )


def _fitting(response: Any, limit: int) -> bytes:
    """`response` in at most `limit` bytes: without additional records if need be, then truncated with the
    flag that says so.
    """
    import dns.exception

    try:
        wire: bytes = response.to_wire(max_size=limit, want_shuffle=False)
    except dns.exception.TooBig:
        response.additional = []
        wire = response.to_wire(max_size=limit, prefer_truncation=True, want_shuffle=False)
    return wire


def _end_of_name(message: bytes, at: int) -> int:
    """The offset after the name that starts at `at`; a question's name is never compressed."""
    start = at
    while at < len(message):
        length = message[at]
        at += 1
        if not length:
            return at
        if length > 63 or at + length - start > 254:
            break
        at += length
    raise _MalformedError


def _edns(message: bytes, at: int, additional: int) -> _Edns | None:
    """The OPT record among `additional` records that start at `at`, None without one. A signature (TSIG) is
    ignored.
    """
    for _ in range(additional):
        name = _end_of_name(message, at)
        if name + 10 > len(message):
            raise _MalformedError
        kind, size, _, version, _, length = struct.unpack_from("!HHBBHH", message, name)
        if kind == _OPT:
            return _Edns(size, version)
        at = name + 10 + length
    return None
