"""Messages as bytes: EDNS, truncation, what is malformed, and that nothing that arrives stops the server."""

import collections
import random
import struct

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.dns.answers import Answerer
from kcompile.dns.records import Maker
from kcompile.dns.wire import MAX_UDP
from kcompile.dns.zones import Zones

DOMAIN = "cluster.local."
BIG = f"big.shop.svc.{DOMAIN}"
PORT = f"_http._tcp.big.shop.svc.{DOMAIN}"


def answerer(addresses: int = 200, hosts: int = 0) -> Answerer:
    """`addresses` at BIG, and at PORT `hosts` with an address each."""
    zones = Zones(DOMAIN, 5)
    zones.change("apexes", Maker(DOMAIN).apexes(["10.96.0.10"]))
    names = {f"h{n}.{BIG}": {"A": [f"10.1.{n >> 8}.{n & 255}"]} for n in range(hosts)}
    names[BIG] = {"A": [f"10.0.{number >> 8}.{number & 255}" for number in range(addresses)]}
    names[PORT] = {"SRV": [f"0 1 80 h{n}.{BIG}" for n in range(hosts)]} if hosts else {}
    zones.change("big", {name: kinds for name, kinds in names.items() if kinds})
    return Answerer(zones)


def replied(
    server: Answerer, query: dns.message.Message, *, tcp: bool = False
) -> tuple[bytes, dns.message.Message]:
    wire = server.answer(query.to_wire(), {}, tcp=tcp)
    assert isinstance(wire, bytes)
    reply = dns.message.from_wire(wire)
    assert query.is_response(reply)
    return wire, reply


def ask(query: dns.message.Message, tcp: bool = False) -> tuple[bytes, dns.message.Message]:
    return replied(answerer(), query, tcp=tcp)


@pytest.mark.parametrize(
    ("edns", "limit"), [(None, 512), (512, 512), (900, 900), (4096, MAX_UDP), (100, 512)]
)
@pytest.mark.parametrize("name", [BIG, PORT])
def test_too_long_for_udp_is_truncated_and_keeps_what_fits(edns: int | None, limit: int, name: str):
    kind = "A" if name == BIG else "SRV"
    query = dns.message.make_query(name, kind, use_edns=edns is not None and 0, payload=edns or 0)
    server, seen = answerer(200, 60), set()
    for _ in range(80):
        wire, reply = replied(server, query)
        records = list(reply.answer[0])
        size = 16 if kind == "A" else len(records[0].to_wire()) + 14
        assert limit - size < len(wire) <= limit
        assert reply.flags & dns.flags.TC
        assert (reply.edns >= 0) == (edns is not None)
        seen |= {record.to_text() for record in records}
    assert len(seen) == (200 if kind == "A" else 60)


@pytest.mark.parametrize("size", [700, 800, 1000, 1232])
def test_additional_records_that_do_not_fit_are_left_out(size: int):
    server = answerer(1, 12)
    wire, reply = replied(server, dns.message.make_query(PORT, "SRV", use_edns=0, payload=size))
    assert len(wire) <= size
    assert not reply.flags & dns.flags.TC
    assert (len(reply.answer[0]), 0 < len(reply.additional) < 12) == (12, size < 1000)


def test_tcp_has_it_all():
    _, reply = ask(dns.message.make_query(BIG, "A"), tcp=True)
    assert not reply.flags & dns.flags.TC
    assert len(reply.answer[0]) == 200


def test_tcp_has_up_to_64_kib():
    wire, reply = replied(answerer(5000), dns.message.make_query(BIG, "A", use_edns=0), tcp=True)
    assert 65520 <= len(wire) < 65536
    assert reply.flags & dns.flags.TC


@pytest.mark.parametrize(("addresses", "tcp"), [(4, False), (100, False), (100, True)])
def test_the_order_turns(addresses: int, tcp: bool):
    """Each address comes first as often as the others, whatever else is asked between."""
    server, random_state = answerer(addresses), random.getstate()
    random.seed(7)
    try:
        asked, between = (dns.message.make_query(BIG, kind).to_wire() for kind in ("A", "AAAA"))
        first = collections.Counter()
        for _ in range(40 * addresses):
            wire = server.answer(asked, {}, tcp=tcp)
            first[wire[len(asked) + 12 : len(asked) + 16]] += 1
            server.answer(between, {})
    finally:
        random.setstate(random_state)
    chi_square = sum((count - 40) ** 2 / 40 for count in first.values())
    assert len(first) == addresses
    freedom = addresses - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5  # four standard deviations


def test_the_question_comes_back_in_its_own_case():
    name = "BiG.shOP.svc.Cluster.LOCAL."
    server = answerer(3)
    for spelling in (name, name.swapcase(), name):
        wire = server.answer(dns.message.make_query(spelling, "A").to_wire(), {})
        reply = dns.message.from_wire(wire)
        assert reply.question[0].name.to_text() == spelling
        assert len(reply.answer[0]) == 3


def test_an_edns_version_to_come():
    query = dns.message.make_query(BIG, "A", use_edns=0)
    query.use_edns(edns=1)
    _, reply = ask(query)
    assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])
    assert not reply.flags & dns.flags.AA


def test_options_of_the_client_change_nothing():
    plain = dns.message.make_query("one." + BIG, "A", use_edns=0)
    with_cookie = dns.message.make_query(
        "one." + BIG, "A", use_edns=0, options=[dns.edns.GenericOption(10, b"12345678")]
    )
    assert ask(plain)[1].rcode() == ask(with_cookie)[1].rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("recursion", [True, False])
def test_recursion_is_neither_done_nor_claimed(recursion: bool):
    query = dns.message.make_query(BIG, "A", flags=dns.flags.RD if recursion else 0)
    _, reply = ask(query)
    assert bool(reply.flags & dns.flags.RD) == recursion
    assert not reply.flags & dns.flags.RA


@pytest.mark.parametrize(
    ("rdclass", "kind", "rcode"),
    [
        ("CH", "TXT", dns.rcode.REFUSED),
        ("IN", "AXFR", dns.rcode.REFUSED),
        ("ANY", "A", dns.rcode.NOERROR),
        ("IN", "ANY", dns.rcode.NOERROR),
    ],
)
def test_other_classes_and_types(rdclass: str, kind: str, rcode: int):
    wire = answerer(3).answer(dns.message.make_query(BIG, kind, rdclass).to_wire(), {})
    assert dns.message.from_wire(wire).rcode() == rcode


def header(flags: int = 0, questions: int = 1, answers: int = 0, additional: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 4711, flags, questions, answers, 0, additional)


QUESTION = b"\1a\0\0\1\0\1"
OPT = b"\0\0\x29\4\xd0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (header(0x2800) + QUESTION, dns.rcode.NOTIMP),
        (header(questions=0), dns.rcode.FORMERR),
        (header(questions=2) + QUESTION * 2, dns.rcode.FORMERR),
        (header(answers=1) + QUESTION, dns.rcode.FORMERR),
        (header() + b"\1a", dns.rcode.FORMERR),
        (header() + b"\1a\0\0\1\0", dns.rcode.FORMERR),
        (header() + b"\xc0\x0c\0\1\0\1", dns.rcode.FORMERR),
        (header() + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1", dns.rcode.FORMERR),
        (header(additional=1) + QUESTION + b"\0\0\x29", dns.rcode.FORMERR),
        (header(additional=2) + QUESTION + OPT * 2, dns.rcode.FORMERR),
        (header(additional=1) + QUESTION + b"\1a" + OPT, dns.rcode.FORMERR),
        (header(additional=1) + QUESTION + b"\xc0\x0c" + OPT[1:], dns.rcode.FORMERR),
        (header(additional=1) + QUESTION + OPT[:-1] + b"\1", dns.rcode.FORMERR),
        (header(additional=1) + QUESTION + OPT[:-1] + b"\4\0\x0a\0\1", dns.rcode.FORMERR),
    ],
)
def test_malformed(message: bytes, rcode: int):
    reply = answerer().answer(message, {})
    assert reply is not None
    assert struct.unpack_from("!HH", reply) == (4711, reply[2] << 8 | reply[3])
    assert reply[3] & 15 == rcode
    assert reply[2] & 0x80


@pytest.mark.parametrize("message", [b"", b"\0" * 11, header(0x8000) + QUESTION])
def test_no_answer_at_all(message: bytes):
    assert answerer().answer(message, {}) is None


QUERIES = [
    dns.message.make_query(name, kind, use_edns=edns).to_wire()
    for name, kind in ((BIG, "A"), (PORT, "SRV"), (DOMAIN, "NS"), (f"no.{BIG}", "AAAA"), ("a.b.", "ANY"))
    for edns in (False, 0)
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(QUERIES),
    st.lists(st.tuples(st.integers(0, 90), st.binary(max_size=3)), max_size=4),
    st.booleans(),
)
def test_a_mutated_query_gets_a_message_or_nothing(query: bytes, edits: list[tuple[int, bytes]], tcp: bool):
    message = query
    for at, data in edits:
        message = message[:at] + data + message[at + max(len(data) - 1, 1) :]
    server = SERVER
    reply = server.answer(message, {}, tcp=tcp)
    if reply is not None:
        assert isinstance(reply, bytes)
        assert reply[:2] == message[:2]
        assert len(reply) <= (65535 if tcp else MAX_UDP)
        dns.message.from_wire(reply)
    assert isinstance(server.answer(query, {}), bytes)


SERVER = answerer(200, 60)


def test_what_is_kept_is_bounded():
    """A client can have nothing kept that the records don't have."""
    server = answerer(2, 2)
    for number in range(120):
        spelling = "".join(random.choice((c, c.upper())) for c in BIG)
        server.answer(dns.message.make_query(f"n{number}.{DOMAIN}", "A").to_wire(), {})
        server.answer(
            dns.message.make_query(spelling, number, payload=600 + number, use_edns=0).to_wire(), {}
        )
        server.answer(dns.message.make_query(spelling, "A", payload=600 + number, use_edns=0).to_wire(), {})
    assert len(server._kept) == 1


def test_a_change_touches_its_own_answers():
    server = answerer(2, 2)
    ours, others = (dns.message.make_query(name, "A").to_wire() for name in (BIG, f"ns.dns.{DOMAIN}"))
    before = [server.answer(query, {}) for query in (ours, others)]
    kept = dict(server._kept)
    server.changed(server.zones.change("big", {BIG: {"A": ["10.9.9.9"]}}))
    assert [key for key in kept if key in server._kept] == [others[12:]]
    after = [server.answer(query, {}) for query in (ours, others)]
    assert b"\x0a\x09\x09\x09" in after[0]
    assert before[1] == after[1]


def test_a_change_of_a_host_touches_who_names_it():
    server = answerer(2, 2)
    query = dns.message.make_query(PORT, "SRV")
    replied(server, query)
    names = {f"h0.{BIG}": {"A": ["10.9.9.9"]}, f"h1.{BIG}": {"A": ["10.1.0.1"]}}
    names[PORT] = {"SRV": [f"0 1 80 h{n}.{BIG}" for n in range(2)]}
    server.changed(touched := server.zones.change("big", names))
    assert touched == {f"h0.{BIG}", BIG, PORT}  # h1 is as it was
    _, reply = replied(server, query)
    hosts = {record.to_text() for rrset in reply.additional for record in rrset}
    assert hosts == {"10.9.9.9", "10.1.0.1"}


def test_names_come_and_go():
    """Names above names exist as long as any of these."""
    zones = answerer(1).zones
    zones.change("one", {f"a.b.c.{DOMAIN}": {"A": ["10.0.0.1"]}, f"b.c.{DOMAIN}": {"A": ["10.0.0.3"]}})
    zones.change("two", {f"a.b.c.{DOMAIN}": {"A": ["10.0.0.2", "10.0.0.1"]}})
    assert zones.kinds(f"a.b.c.{DOMAIN}") == {"A": ["10.0.0.1", "10.0.0.2"]}
    assert zones.owners_of(f"a.b.c.{DOMAIN}", "A", "10.0.0.1") == ["one", "two"]
    zones.change("one", None)
    assert [zones.exists(f"{name}{DOMAIN}") for name in ("a.b.c.", "b.c.", "c.")] == [True] * 3
    before = len(zones)
    zones.change("two", None)
    assert len(zones) == before - 2
    assert not any(zones.exists(f"{name}{DOMAIN}") for name in ("a.b.c.", "b.c.", "c."))
