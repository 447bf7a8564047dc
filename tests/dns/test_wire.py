"""Messages as bytes: EDNS, truncation, what is malformed, and that nothing that arrives stops the server."""

import struct

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompile.dns.records import Records
from kcompile.dns.wire import MAX_UDP, Answerer
from kcompile.dns.zones import Zones

DOMAIN = "cluster.local."
BIG = f"big.shop.svc.{DOMAIN}"


def answerer(addresses: int = 200) -> Answerer:
    records = Records(DOMAIN, 5)
    for zone in records.zones:
        records.add(zone, "SOA", f"ns.dns.{DOMAIN} hostmaster.{DOMAIN} 1 7200 1800 86400 5")
    for number in range(addresses):
        records.add(BIG, "A", f"10.0.{number >> 8}.{number & 255}")
    return Answerer(Zones(records))


def ask(query: dns.message.Message, tcp: bool = False) -> tuple[bytes, dns.message.Message]:
    wire = answerer().answer(query.to_wire(), tcp=tcp)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert query.is_response(reply)
    return wire, reply


@pytest.mark.parametrize(
    ("edns", "limit"), [(None, 512), (512, 512), (900, 900), (4096, MAX_UDP), (100, 512)]
)
def test_too_long_for_udp_is_truncated(edns: int | None, limit: int):
    query = dns.message.make_query(BIG, "A", use_edns=edns is not None and 0, payload=edns or 0)
    wire, reply = ask(query)
    assert len(wire) <= limit
    assert reply.flags & dns.flags.TC
    assert (reply.edns >= 0) == (edns is not None)


def test_tcp_has_it_all():
    _, reply = ask(dns.message.make_query(BIG, "A"), tcp=True)
    assert not reply.flags & dns.flags.TC
    assert len(reply.answer[0]) == 200


def test_the_question_comes_back_in_its_own_case():
    name = "BiG.shOP.svc.Cluster.LOCAL."
    server = answerer(3)
    for spelling in (name, name.swapcase(), name):
        wire = server.answer(dns.message.make_query(spelling, "A").to_wire())
        reply = dns.message.from_wire(wire)
        assert reply.question[0].name.to_text() == spelling
        assert len(reply.answer[0]) == 3


def test_an_edns_version_to_come():
    query = dns.message.make_query(BIG, "A", use_edns=0)
    query.use_edns(edns=1)
    _, reply = ask(query)
    assert (reply.rcode(), reply.edns, reply.answer) == (dns.rcode.BADVERS, 0, [])


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
    wire = answerer(3).answer(dns.message.make_query(BIG, kind, rdclass).to_wire())
    assert dns.message.from_wire(wire).rcode() == rcode


def header(flags: int = 0, questions: int = 1, answers: int = 0, additional: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 4711, flags, questions, answers, 0, additional)


QUESTION = b"\1a\0\0\1\0\1"


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
    ],
)
def test_malformed(message: bytes, rcode: int):
    reply = answerer().answer(message)
    assert reply is not None
    assert struct.unpack_from("!HH", reply) == (4711, reply[2] << 8 | reply[3])
    assert reply[3] & 15 == rcode
    assert reply[2] & 0x80


@pytest.mark.parametrize("message", [b"", b"\0" * 11, header(0x8000) + QUESTION])
def test_no_answer_at_all(message: bytes):
    assert answerer().answer(message) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_nothing_that_arrives_is_too_much(rest: bytes, good_header: bool):
    server = answerer(2)
    server.answer((header(additional=1) if good_header else b"") + rest)
    server.answer((header() + QUESTION)[: len(rest)] + rest, tcp=True)
    assert server.answer(dns.message.make_query(BIG, "A").to_wire()) is not None


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kcompile.dns.wire._KEPT", 50)
    server = answerer(2)
    for number in range(120):
        server.answer(dns.message.make_query(f"n{number}.{DOMAIN}", "A").to_wire())
    assert len(server._kept) <= 50
    assert (
        dns.message.from_wire(server.answer(dns.message.make_query(BIG, "A").to_wire())).rcode()
        == dns.rcode.NOERROR
    )
