"""Messages as bytes: what a question says (RFC 1035; EDNS: RFC 6891), and the parts of an answer. Pure."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = [
    "AA", "ANY_CLASS", "BAD_VERSION", "CD", "FORMAT_ERROR", "HEADER", "IN", "MAX_TCP", "MAX_UDP",
    "NOT_IMPLEMENTED", "OPCODE", "QR", "RA", "RD", "SERVER_FAILURE", "SHAPES", "TC",
    "TRANSFERS",
    "MalformedError", "Question", "Shape", "echoed", "limit_of", "opt", "question_of", "shape_of",
]  # fmt: skip

MAX_UDP, MAX_TCP = 1232, 65535
"""Bytes that an answer has at most. Over UDP, whatever the client says that it takes: more would be
fragmented (DNS flag day 2020).
"""
_PLAIN_UDP = 512
FORMAT_ERROR, SERVER_FAILURE, NOT_IMPLEMENTED, BAD_VERSION = 1, 2, 4, 16
QR, OPCODE, AA, TC, RD, RA, CD = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080, 0x0010
IN, ANY_CLASS, _OPT, TRANSFERS = 1, 255, 41, (251, 252)
HEADER = struct.Struct("!HHHHHH")
_QUESTION_AT, _LONGEST_NAME, _LONGEST_LABEL, _POINTER = 12, 255, 63, 0xC0
_TAIL, _RECORD, _OPTION = struct.Struct("!HH"), struct.Struct("!HHIH"), struct.Struct("!HH")
SHAPES = 8
"""Headers that answers of one kind can have: with RD, CD, EDNS, or without."""
_NO_EDNS, _WITH_EDNS = b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1"  # counts of a query
_OPT_START, _OPT_END, _VERSION_AT = b"\0\0\x29", b"\0\0", 6  # root name and type; no options


class MalformedError(Exception):
    """The message can't be read."""


class Question(NamedTuple):
    """`name` is absolute, in lower case, and has `length` bytes; `end`: where the question ends in the
    message. A dot within a label is escaped, as no name of ours has one.

    `size`: bytes that the client takes over UDP by EDNS, None without EDNS. `version`: that of EDNS.
    """

    name: str
    length: int
    kind: int
    rdclass: int
    end: int
    size: int | None = None
    version: int = 0


def question_of(message: bytes) -> Question:
    """What a query asks. Raises MalformedError for anything but one question."""
    _, _, questions, answers, authority, additional = HEADER.unpack_from(message)
    if questions != 1 or answers or authority:
        raise MalformedError
    labels: list[bytes] = []
    at = _QUESTION_AT
    while length := message[at] if at < len(message) else _POINTER:
        if length > _LONGEST_LABEL:  # a question's name is never compressed: nothing is before it
            raise MalformedError
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    at += 1
    end = at + _TAIL.size
    if end > len(message) or at - _QUESTION_AT > _LONGEST_NAME:
        raise MalformedError
    name = b".".join(labels).lower()
    if name.count(b".") >= len(labels) > 0:
        name = b".".join([label.replace(b".", b"\\.") for label in labels]).lower()
    kind, rdclass = _TAIL.unpack_from(message, at)
    size, version = _edns(message, end, additional) if additional else (None, 0)
    return Question(name.decode("latin-1") + ".", at - _QUESTION_AT, kind, rdclass, end, size, version)


class Shape(NamedTuple):
    """What queries have in common that differ in id and question alone.

    `number`: which header an answer has, less than SHAPES. `space`: bytes for the question and the records
    over UDP. `edns`: the OPT record of an answer, or nothing.
    """

    number: int
    space: int
    edns: bytes

    @property
    def flags(self) -> int:
        """The flags that an answer echoes."""
        return (RD if self.number & 1 else 0) | (CD if self.number & 2 else 0)


def shape_of(header: bytes, rest: bytes) -> Shape | None:
    """The shape of an ordinary query. `header`: its header after the id; `rest`: what follows the question.
    None for one that has to be read as a whole.
    """
    flags, counts = int.from_bytes(header[:2]), header[2:]
    number = (1 if flags & RD else 0) | (2 if flags & CD else 0)
    if flags & (QR | OPCODE):
        return None
    if not rest and counts == _NO_EDNS:
        return Shape(number, limit_of(None, tcp=False) - HEADER.size, b"")
    if (
        counts == _WITH_EDNS
        and len(rest) == len(_OWN_OPT)
        and rest.startswith(_OPT_START)
        and rest.endswith(_OPT_END)
        and not rest[_VERSION_AT]
    ):
        limit = limit_of(int.from_bytes(rest[3:5]), tcp=False)
        return Shape(number | 4, limit - HEADER.size - len(_OWN_OPT), _OWN_OPT)
    return None


def limit_of(size: int | None, *, tcp: bool) -> int:
    """Bytes that an answer may have. `size`: what the client takes, None without EDNS."""
    if tcp:
        return MAX_TCP
    return _PLAIN_UDP if size is None else min(max(size, _PLAIN_UDP), MAX_UDP)


def echoed(flags: int) -> int:
    """The flags of an answer that are those of its query."""
    return QR | (flags & (OPCODE | RD | CD))


def opt(rcode: int = 0) -> bytes:
    """The OPT record of an answer: what we take over UDP, and the upper bits of `rcode`."""
    return b"\0" + struct.pack("!HHBBHH", _OPT, MAX_UDP, rcode >> 4, 0, 0, 0)


_OWN_OPT = opt()


def _end_of_name(message: bytes, at: int) -> int:
    """The offset after the name that starts at `at`; it may end in a pointer to another."""
    start = at
    while at < len(message):
        length = message[at]
        at += 1
        if not length:
            return at
        if length >= _POINTER:
            return at + 1
        if length > _LONGEST_LABEL or at + length - start >= _LONGEST_NAME:
            break
        at += length
    raise MalformedError


def _edns(message: bytes, at: int, additional: int) -> tuple[int | None, int]:
    """The size and the version that the OPT record says, among `additional` records that start at `at`. A
    signature (TSIG) is ignored.
    """
    found: tuple[int | None, int] = (None, 0)
    for _ in range(additional):
        name = _end_of_name(message, at)
        if name + _RECORD.size > len(message):
            raise MalformedError
        kind, size, ttl, length = _RECORD.unpack_from(message, name)
        data = name + _RECORD.size
        if data + length > len(message):
            raise MalformedError
        if kind == _OPT:
            if found[0] is not None or name != at + 1:  # a second one, or one with a name (6.1.1)
                raise MalformedError
            _check_options(message[data : data + length])
            found = size, ttl >> 16 & 0xFF
        at = data + length
    return found


def _check_options(data: bytes) -> None:
    at = 0
    while at < len(data):
        if at + _OPTION.size > len(data):
            raise MalformedError
        at += _OPTION.size + _OPTION.unpack_from(data, at)[1]
    if at != len(data):
        raise MalformedError
