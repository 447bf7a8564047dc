"""Answers to questions, as bytes. What there is to say of a name is packed once, if possible before it is
asked, and put together anew for each question: in another order each time, and as much as the client takes.

What is kept is bounded by the records: answers that say no are made each time, and a client can't have one
kept that differs by case, size or options.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from random import random
from typing import NamedTuple

from .packing import TYPES, Packer, offsets, wire_name
from .wire import (
    AA,
    ANY_CLASS,
    BAD_VERSION,
    CD,
    FORMAT_ERROR,
    HEADER,
    IN,
    MAX_TCP,
    NOT_IMPLEMENTED,
    OPCODE,
    QR,
    RA,
    RD,
    SERVER_FAILURE,
    SHAPES,
    TC,
    TRANSFERS,
    MalformedError,
    Question,
    Shape,
    echoed,
    limit_of,
    opt,
    question_of,
    shape_of,
)
from .zones import NAME_ERROR, NO_ERROR, REFUSED, Answer, RRset, Zones

__all__ = ["Answerer", "Counts", "Label", "Onward"]

_PREPARED = 50_000  # answers that are packed before they are asked; some 500 bytes each
_ASKED_OFTEN = ("A", "AAAA", "SRV")
_NAMES = {number: name for name, number in TYPES.items()}
_OPT = opt()
_ECHOED = RD | CD
_SHAPES = 1024  # that are remembered: clients can make up more
_POINTER = 0xC000

Label = tuple[str, str, int]
"""What an answer counts as: zone, type (``other`` for those that no record has), rcode."""
Counts = dict[Label, int]


class Onward(NamedTuple):
    """A question that another server can answer.

    `target`: the name to ask for. `head`: CNAME records that lead there from the question, `before` of them.
    `limit`: bytes that the answer may have.
    """

    number: bytes
    flags: int
    question: Question
    asked: bytes
    target: str
    head: bytes
    before: int
    limit: int


class _Kept(NamedTuple):
    """A packed answer. `head`: records that come first (CNAME), `before` of them; `turning`: records in any
    order, which start at `starts` (the last one is the end); `rest`: authority and additional records,
    `authority` of the first, and the additional ones end at `ends`. `headers`: by the number of a shape.
    `whole`: all records, where there is one order. `onward`: where another server has to go on.
    """

    label: Label
    size: int
    head: bytes
    before: int
    turning: bytes
    starts: list[int]
    rest: bytes
    authority: int
    ends: list[int]
    headers: tuple[bytes, ...]
    whole: bytes
    onward: str


class Answerer:
    """Answers questions about `zones`. Not for several threads at once.

    `forwards`: what isn't in the zones is for another server. `ready`: False until there is something to
    answer from.
    """

    def __init__(self, zones: Zones, *, forwards: bool = False, ready: bool = True) -> None:
        self.zones, self.ready = zones, ready
        self._forwards = forwards
        self._flags = QR | (RA if forwards else 0)
        self._kept: dict[bytes, _Kept] = {}  # by the question in lower case
        self._shapes: dict[bytes, Shape] = {}  # by all of a query but its id and question
        self._unprepared: dict[str, None] = {}
        self._labels: dict[Label, Label] = {}  # each once
        self._soas: dict[str, tuple[int, bytes]] = {}  # zone -> length of its name, its SOA without that

    def changed(self, names: Iterable[str]) -> None:
        """Forget what is kept about `names`, of whose objects a record has changed."""
        self._soas.clear()
        self._unprepared |= dict.fromkeys(names)
        for name in (*names, *self.zones.zones):
            wire = wire_name(name)
            for number in TYPES.values():
                self._kept.pop(wire + number.to_bytes(2) + b"\0\1", None)

    def prepare(self, seconds: float) -> bool:
        """Pack what hasn't been asked since it changed, for so long; whether there is more to do."""
        end = time.monotonic() + seconds
        while self._unprepared and len(self._kept) < _PREPARED:
            name, _ = self._unprepared.popitem()
            wire = wire_name(name)
            for kind in self.zones.kinds(name):
                if kind in _ASKED_OFTEN:
                    asked = wire + TYPES[kind].to_bytes(2) + b"\0\1"
                    if asked not in self._kept:
                        self._found(Question(name, len(wire), TYPES[kind], IN, 0), asked)
            if time.monotonic() > end:
                return bool(self._unprepared)
        self._unprepared.clear()
        return False

    def answer(self, message: bytes, counts: Counts, *, tcp: bool = False) -> bytes | Onward | None:
        """The reply to `message`; None for a message that gets none (too short, or itself a reply)."""
        end = message.find(0, 12) + 5
        asked = message[12:end]
        kept = self._kept.get(asked) or self._kept.get(asked.lower())
        if kept is not None:
            header, rest = message[2:12], message[end:]
            shape = self._shapes.get(header + rest) or self._shape(header, rest)
            if shape is not None:
                counts[kept.label] = counts.get(kept.label, 0) + 1
                number, space, edns = shape
                if tcp:
                    space = MAX_TCP - HEADER.size - len(edns)
                if kept.whole and kept.size + len(asked) <= space:
                    return b"%b%b%b%b%b" % (message[:2], kept.headers[number], asked, kept.whole, edns)
                return _reply(message[:2], asked, kept, shape, space)
        return self._any_answer(message, counts, tcp=tcp)

    def _shape(self, header: bytes, rest: bytes) -> Shape | None:
        shape = shape_of(header, rest)
        if shape is not None:
            if len(self._shapes) == _SHAPES:
                self._shapes.clear()
            self._shapes[header + rest] = shape
        return shape

    def _any_answer(self, message: bytes, counts: Counts, *, tcp: bool) -> bytes | Onward | None:
        if len(message) < HEADER.size:
            return None
        number, flags = int.from_bytes(message[:2]), int.from_bytes(message[2:4])
        if flags & QR:
            return None
        if flags & OPCODE:
            return _refusal(number, flags, NOT_IMPLEMENTED, counts)
        try:
            question = question_of(message)
        except MalformedError:
            return _refusal(number, flags, FORMAT_ERROR, counts)
        asked = message[12 : question.end]
        edns = b"" if question.size is None else _OPT
        limit = limit_of(question.size, tcp=tcp)
        if question.version:
            counts["", "other", BAD_VERSION] = counts.get(("", "other", BAD_VERSION), 0) + 1
            back = echoed(flags) | self._flags | (BAD_VERSION & 15)
            return HEADER.pack(number, back, 1, 0, 0, 1) + asked + opt(BAD_VERSION)
        if self.ready and (negative := self._negative(question, message, asked, limit, counts)):
            return negative
        kept = self._found(question, asked)
        if kept.onward:
            back = echoed(flags) | self._flags
            return Onward(message[:2], back, question, asked, kept.onward, kept.head, kept.before, limit)
        counts[kept.label] = counts.get(kept.label, 0) + 1
        number_of = (1 if flags & RD else 0) | (2 if flags & CD else 0) | (4 if edns else 0)
        shape = Shape(number_of, limit - HEADER.size - len(edns), edns)
        return _reply(message[:2], asked, kept, shape, shape.space)

    def _negative(
        self, question: Question, message: bytes, asked: bytes, limit: int, counts: Counts
    ) -> bytes:
        """The reply that there is no such name, or nothing at it: as quick as a kept one, for these can be
        asked without end. Empty where there is something, or where it isn't for us to say.
        """
        name, zones, kind = question.name, self.zones, _NAMES.get(question.kind, "other")
        if question.rdclass not in (IN, ANY_CLASS) or question.kind in TRANSFERS or zones.has(name, kind):
            return b""
        if not (zone := zones.zone_of(name)):
            return b""
        rcode = NO_ERROR if zones.exists(name) else NAME_ERROR
        length, soa = self._soas.get(zone) or self._soa(zone)
        owner = (_POINTER | 12 + question.length - length).to_bytes(2)
        edns = b"" if question.size is None else _OPT
        label = zone, kind, rcode
        counts[label] = counts.get(label, 0) + 1
        fits = 12 + len(asked) + 2 + len(soa) + len(edns) <= limit
        flags = self._flags | AA | rcode | (0 if fits else TC) | (int.from_bytes(message[2:4]) & _ECHOED)
        number_of = _counts(0, 1 if fits else 0, 1 if edns else 0)
        record = owner + soa if fits else b""
        return b"%b%b%b%b%b%b" % (message[:2], flags.to_bytes(2), number_of, asked, record, edns)

    def _soa(self, zone: str) -> tuple[int, bytes]:
        """What `_soas` keeps; names in it aren't compressed."""
        (record,) = Packer(".", self.zones.ttl).records(self.zones.soa(zone))
        length = len(wire_name(zone))
        made = self._soas[zone] = length, record[length:]
        return made

    def _found(self, question: Question, asked: bytes) -> _Kept:
        """What there is to say; kept, where it says yes and nothing of it is another object's."""
        kind = _NAMES.get(question.kind, "other")
        name = question.name
        if not self.ready:
            return self._packed(name, kind, Answer(SERVER_FAILURE), self.zones.domain)
        if question.rdclass not in (IN, ANY_CLASS) or question.kind in TRANSFERS:
            return self._packed(name, kind, Answer(REFUSED))
        answer = self.zones.lookup(name, kind)
        is_ours = answer.rcode != REFUSED
        asks_on = self._forwards and question.rdclass == IN and not (is_ours and kind == "CNAME")
        onward = answer.outside if is_ours else name
        kept = self._packed(name, kind, answer, onward=onward if asks_on else "")
        one_objects = kind == "ANY" or len(answer.answers) == 1
        if (
            answer.answers
            and one_objects
            and not answer.authority
            and not kept.onward
            and kind in TYPES
            and question.rdclass == IN
        ):
            self._kept[asked.lower()] = kept
        return kept

    def _packed(self, name: str, kind: str, answer: Answer, zone: str = "", *, onward: str = "") -> _Kept:
        packer = Packer(name, self.zones.ttl)
        *first, last = answer.answers or (None,)
        turns = last is not None and last.kind == kind
        heads = [record for rrset in (first if turns else answer.answers) for record in _of(packer, rrset)]
        turning = _of(packer, last) if turns else []
        authority = [record for rrset in answer.authority for record in packer.records(rrset)]
        label = answer.zone or zone, kind, answer.rcode
        head, body, end = b"".join(heads), b"".join(turning), b"".join(authority)
        additional = _fitting(packer, answer.additional, MAX_TCP - len(head) - len(body))
        ends = offsets(additional)
        rest = end + b"".join(additional)
        is_ours = answer.rcode not in (REFUSED, SERVER_FAILURE)
        flags = self._flags | answer.rcode | (AA if is_ours else 0)
        return _Kept(
            label=self._labels.setdefault(label, label),
            size=len(head) + len(body) + len(rest),
            head=head,
            before=len(heads),
            turning=body,
            starts=offsets(turning),
            rest=rest,
            authority=len(authority),
            ends=[len(end) + each for each in ends],
            headers=_headers(flags, len(heads) + len(turning), len(authority), len(additional)),
            whole=head + body + rest if len(turning) <= 1 else b"",
            onward=onward,
        )


def _reply(number: bytes, asked: bytes, kept: _Kept, shape: Shape, space: int) -> bytes:
    """`kept` in at most `space` bytes, with the question."""
    body, starts = kept.turning, kept.starts
    turns = len(starts) - 1
    first = int(random() * turns)
    space -= len(asked)
    if kept.size > space:
        return _cut(number, asked, kept, shape, space, first)
    if turns > 1:
        start = starts[first]
        body = body[start:] + body[:start]
    head = kept.headers[shape.number]
    return b"%b%b%b%b%b%b%b" % (number, head, asked, kept.head, body, kept.rest, shape.edns)


@lru_cache(_SHAPES)
def _headers(flags: int, answers: int, authority: int, additional: int) -> tuple[bytes, ...]:
    """Headers after the id, for each shape's number."""
    shapes = [Shape(number, 0, b"") for number in range(SHAPES)]
    return tuple(
        [
            (flags | shape.flags).to_bytes(2) + _counts(answers, authority, additional + (shape.number >> 2))
            for shape in shapes
        ]
    )


def _of(packer: Packer, rrset: RRset | None) -> list[bytes]:
    return packer.records(rrset) if rrset is not None else []


def _fitting(packer: Packer, rrsets: Iterable[RRset], space: int) -> list[bytes]:
    """The records of as many of `rrsets` as `space` bytes have room for."""
    found: list[bytes] = []
    for rrset in rrsets:
        records = packer.records(rrset)
        space -= sum(map(len, records))
        if space < 0:
            break
        found += records
    return found


def _cut(number: bytes, asked: bytes, kept: _Kept, shape: Shape, space: int, first: int) -> bytes:
    """As much of `kept` as `space` bytes hold. Additional records may be left out; without one of the others
    the answer is truncated, and says so.
    """
    body, starts = kept.turning, kept.starts
    turns, start = len(starts) - 1, starts[first]
    wanted = len(kept.head) + len(body) + kept.ends[0]
    edns, flags = shape.edns, kept.headers[shape.number][:2]
    opts = 1 if edns else 0
    if wanted <= space:
        fit = bisect_right(kept.ends, space - len(kept.head) - len(body)) - 1
        counts = _counts(kept.before + turns, kept.authority, fit + opts)
        parts = (kept.head, body[start:] + body[:start], kept.rest[: kept.ends[fit]], edns)
        return b"".join((number, flags, counts, asked, *parts))
    flags = (int.from_bytes(flags) | TC).to_bytes(2)
    if len(kept.head) > space:
        return b"".join((number, flags, _counts(0, 0, opts), asked, edns))
    space -= len(kept.head)
    last = bisect_right(starts, start + space) - 1  # the records from `first` to it fit
    piece, fit = body[start : starts[last]], last - first
    if last == turns:
        more = min(bisect_right(starts, space - len(piece)) - 1, first)
        piece, fit = piece + body[: starts[more]], fit + more
    counts = _counts(kept.before + fit, 0, opts)
    return b"".join((number, flags, counts, asked, kept.head, piece, edns))


def _counts(answers: int, authority: int, additional: int) -> bytes:
    return HEADER.pack(0, 0, 1, answers, authority, additional)[4:]


def _refusal(number: int, flags: int, rcode: int, counts: Counts) -> bytes:
    label = ("", "other", rcode)
    counts[label] = counts.get(label, 0) + 1
    return HEADER.pack(number, echoed(flags) | rcode, 0, 0, 0, 0)
