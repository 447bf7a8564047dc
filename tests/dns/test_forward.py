"""Names that other servers know: forwarded, or where an ExternalName leads."""

from collections.abc import Iterator

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from harness.nameserver import free_port, serving


@pytest.fixture(scope="module")
def forwarding() -> Iterator[int]:
    """The port of a server of the domain inner.test that asks one of example.com."""
    with (
        serving("--cluster-domain", "example.com") as (upstream, _),
        serving("--cluster-domain", "inner.test", "--forward", f"127.0.0.1:{upstream}") as (port, _),
    ):
        yield port


def asked(port: int, name: str, kind: str, *, tcp: bool = False, **options: int) -> dns.message.Message:
    query = dns.message.make_query(name, kind, **options)
    reply = (dns.query.tcp if tcp else dns.query.udp)(query, "127.0.0.1", port=port, timeout=10)
    assert reply.flags & dns.flags.RA
    return reply


@pytest.mark.parametrize("tcp", [False, True])
def test_other_names_are_asked_for(forwarding: int, tcp: bool):
    reply = asked(forwarding, "WEB.shop.svc.example.com.", "A", tcp=tcp, use_edns=0)
    assert [(r.to_text(), rrset.ttl <= 5) for rrset in reply.answer for r in rrset] == [("10.96.0.80", True)]
    assert not reply.flags & dns.flags.AA
    reply = asked(forwarding, "none.shop.svc.example.com.", "A", tcp=tcp)
    assert (reply.rcode(), len(reply.authority)) == (dns.rcode.NXDOMAIN, 1)


def test_own_names_are_not(forwarding: int):
    reply = asked(forwarding, "none.shop.svc.inner.test.", "A")
    assert reply.rcode() == dns.rcode.NXDOMAIN
    assert reply.flags & dns.flags.AA


def test_an_external_name_is_followed(forwarding: int):
    """search.example.com is an address of nobody; the answer has the CNAME, and the other server's no."""
    reply = asked(forwarding, "search.shop.svc.inner.test.", "A")
    assert [r.to_text() for rrset in reply.answer for r in rrset] == ["search.example.com."]
    assert reply.rcode() == dns.rcode.NXDOMAIN
    reply = asked(forwarding, "search.shop.svc.inner.test.", "CNAME")
    assert (reply.rcode(), len(reply.answer)) == (dns.rcode.NOERROR, 1)


def test_what_the_other_server_refuses_fails(forwarding: int):
    assert asked(forwarding, "nowhere.test.", "A").rcode() == dns.rcode.SERVFAIL


def test_a_loop_is_seen():
    port = free_port()
    with serving("--forward", f"127.0.0.1:{port}", port=port) as (_, server):
        assert "no more questions are forwarded to 127.0.0.1: they come back here" in server.stderr.readline()
        assert asked(port, "example.com.", "A").rcode() == dns.rcode.SERVFAIL
