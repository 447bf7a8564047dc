"""Every kind of record of the Kubernetes DNS specification, asked for by dnspython and by dig, over UDP and
TCP.
"""

import subprocess

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.reversename
import pytest

from harness.nameserver import serving

# (section of the specification, name below the domain or absolute, type, what the answer section must hold:
# "type data")
CASES = [
    ("2.2 schema version", "dns-version", "TXT", {'TXT "1.1.0"'}),
    ("2.3.1 address", "web.shop.svc", "A", {"A 10.96.0.80"}),
    ("2.3.1 address", "web.shop.svc", "AAAA", {"AAAA fd00:10:96::80"}),
    ("2.3.1 case does not matter", "WEB.Shop.svc", "A", {"A 10.96.0.80"}),
    ("2.3.1 address without a named port", "unnamed.shop.svc", "A", {"A 10.96.0.81"}),
    ("2.3.2 named port", "_http._tcp.web.shop.svc", "SRV", {"SRV 0 50 80 web.shop.svc.{domain}."}),
    ("2.3.2 named port, UDP", "_quic._udp.web.shop.svc", "SRV", {"SRV 0 50 443 web.shop.svc.{domain}."}),
    ("all ports at the Service's own name", "web.shop.svc", "SRV",
     {"SRV 0 25 80 web.shop.svc.{domain}.", "SRV 0 25 443 web.shop.svc.{domain}."}),
    ("endpoints of a clusterIP", "10-244-2-9.backed.shop.svc", "A", {"A 10.244.2.9"}),
    ("their reverse", "9.2.244.10.in-addr.arpa.", "PTR", {"PTR 10-244-2-9.backed.shop.svc.{domain}."}),
    ("2.3.3 reverse", "80.0.96.10.in-addr.arpa.", "PTR", {"PTR web.shop.svc.{domain}."}),
    ("2.3.3 reverse, IPv6", str(dns.reversename.from_address("fd00:10:96::80")), "PTR",
     {"PTR web.shop.svc.{domain}."}),
    ("2.4.1 headless: ready endpoints", "db.shop.svc", "A", {"A 10.244.0.5", "A 10.244.1.6"}),
    ("2.4.1 headless, IPv6", "db.shop.svc", "AAAA", {"AAAA fd00:10:244::5"}),
    ("2.4.1 with a hostname", "first.db.shop.svc", "A", {"A 10.244.0.5"}),
    ("2.4.1 with a hostname, IPv6", "first.db.shop.svc", "AAAA", {"AAAA fd00:10:244::5"}),
    ("2.4.1 without a hostname", "10-244-1-6.db.shop.svc", "A", {"A 10.244.1.6"}),
    ("2.4.1 not ready, published", "peers.shop.svc", "A", {"A 10.244.0.5", "A 10.244.1.6", "A 10.244.1.7"}),
    ("2.4.2 headless: SRV has the endpoints' port", "_sql._tcp.db.shop.svc", "SRV",
     {"SRV 0 33 15432 first.db.shop.svc.{domain}.", "SRV 0 33 15432 10-244-1-6.db.shop.svc.{domain}."}),
    ("2.4.3 headless: reverse", "5.0.244.10.in-addr.arpa.", "PTR",
     {"PTR first.db.shop.svc.{domain}.", "PTR 10-244-0-5.peers.shop.svc.{domain}."}),
    ("2.5 external name", "search.shop.svc", "CNAME", {"CNAME search.example.com."}),
    ("2.5 external name, address asked", "search.shop.svc", "A", {"CNAME search.example.com."}),
    ("2.5 external name inside", "alias.shop.svc", "A",
     {"CNAME web.shop.svc.cluster.local.", "A 10.96.0.80"}),
    ("pods", "10-244-0-5.shop.pod", "A", {"A 10.244.0.5"}),
    ("pods, IPv6", "fd00-10-244--5.shop.pod", "AAAA", {"AAAA fd00:10:244::5"}),
    ("the server's own address", "ns.dns", "A", {"A 10.96.0.10"}),
    ("apex", "", "NS", {"NS ns.dns.{domain}."}),
    ("apex of a reverse zone", "96.10.in-addr.arpa.", "NS", {"NS ns.dns.{domain}."}),
]  # fmt: skip

# (why, name, type, rcode)
NEGATIVE = [
    ("no such Service", "nobody-knows.shop.svc", "A", "NXDOMAIN"),
    ("no such namespace", "web.nowhere.svc", "A", "NXDOMAIN"),
    ("no such port", "_ftp._tcp.web.shop.svc", "SRV", "NXDOMAIN"),
    ("a port without a name has no SRV record", "_._tcp.unnamed.shop.svc", "SRV", "NXDOMAIN"),
    ("a pod that is not ready has no name", "10-244-1-7.db.shop.svc", "A", "NXDOMAIN"),
    ("a pod that has ended", "10-244-1-8.shop.pod", "A", "NXDOMAIN"),
    ("no such address", "99.0.96.10.in-addr.arpa.", "PTR", "NXDOMAIN"),
    ("not ready, so no reverse either, but a published one", "9.1.244.10.in-addr.arpa.", "PTR", "NXDOMAIN"),
    ("an IPv4 Service has no AAAA record", "unnamed.shop.svc", "AAAA", "NOERROR"),
    ("a headless Service without endpoints", "nobody.shop.svc", "A", "NXDOMAIN"),
    ("an ExternalName that is an address", "number.shop.svc", "A", "NXDOMAIN"),
    ("a namespace exists", "shop.svc", "A", "NOERROR"),
    ("an empty one doesn't", "empty.svc", "A", "NXDOMAIN"),
    ("names above names exist", "_tcp.web.shop.svc", "SRV", "NOERROR"),
    ("svc", "svc", "A", "NOERROR"),
    ("types that nobody has", "web.shop.svc", "HTTPS", "NOERROR"),
]


def absolute(name: str, domain: str = "cluster.local") -> str:
    return name if name.endswith(".") else f"{name}.{domain}.".lstrip(".")


def by_dnspython(name: str, kind: str, port: int, tcp: bool) -> tuple[str, set[str], set[str], bool]:
    """rcode, answers, types in the authority section, authoritative."""
    query = dns.message.make_query(name, kind, use_edns=0)
    reply = (dns.query.tcp if tcp else dns.query.udp)(query, "127.0.0.1", port=port, timeout=5)
    answers = {f"{dns.rdatatype.to_text(r.rdtype)} {r.to_text()}" for rrset in reply.answer for r in rrset}
    authority = {dns.rdatatype.to_text(rrset.rdtype) for rrset in reply.authority}
    return dns.rcode.to_text(reply.rcode()), answers, authority, bool(reply.flags & dns.flags.AA)


def by_dig(name: str, kind: str, port: int, tcp: bool, dig: str) -> tuple[str, set[str], set[str], bool]:
    options = [
        "+tcp" if tcp else "+notcp",
        "+nosearch",
        "+noall",
        "+comments",
        "+answer",
        "+authority",
        "+time=5",
        "+tries=1",
        "+norecurse",
    ]
    text = subprocess.run(
        [dig, "@127.0.0.1", "-p", str(port), *options, name, kind], capture_output=True, text=True, check=True
    ).stdout
    rcode = text.partition("status: ")[2].partition(",")[0]
    flags = text.partition("flags: ")[2].partition(";")[0].split()
    records = [line.split(maxsplit=4) for line in text.splitlines() if line and not line.startswith(";")]
    answers = {f"{r[3]} {r[4]}" for r in records if r[3] != "SOA"}
    return rcode, answers, {r[3] for r in records if r[3] == "SOA"}, "aa" in flags


@pytest.fixture(params=["dnspython", "dig"])
def ask(request: pytest.FixtureRequest, port: int):
    if request.param == "dnspython":
        return lambda name, kind, tcp: by_dnspython(name, kind, port, tcp)
    dig = request.getfixturevalue("dig")
    return lambda name, kind, tcp: by_dig(name, kind, port, tcp, dig)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize(
    ("what", "name", "kind", "expected"), CASES, ids=[f"{c[1] or 'apex'}-{c[2]}" for c in CASES]
)
def test_records(ask, tcp: bool, what: str, name: str, kind: str, expected: set[str]):
    rcode, answers, _, authoritative = ask(absolute(name), kind, tcp)
    assert (rcode, authoritative) == ("NOERROR", True), what
    assert answers == {text.format(domain="cluster.local") for text in expected}, what


@pytest.mark.parametrize(
    ("what", "name", "kind", "rcode"), NEGATIVE, ids=[f"{c[1]}-{c[2]}" for c in NEGATIVE]
)
def test_what_is_not_there(ask, what: str, name: str, kind: str, rcode: str):
    assert ask(absolute(name), kind, False) == (rcode, set(), {"SOA"}, True), what


@pytest.mark.parametrize(
    ("name", "kind"), [("example.com.", "A"), ("8.8.8.8.in-addr.arpa.", "PTR"), ("in-addr.arpa.", "NS")]
)
def test_other_names_are_refused(ask, name: str, kind: str):
    rcode, answers, authority, authoritative = ask(name, kind, False)
    assert (rcode, answers, authority, authoritative) == ("REFUSED", set(), set(), False)


def test_a_circle_of_external_names_ends(ask):
    rcode, answers, _, _ = ask("circle.shop.svc.cluster.local.", "A", False)
    assert (rcode, answers) == ("NOERROR", {"CNAME circle.shop.svc.cluster.local."})


def test_another_domain():
    with serving("--cluster-domain", "Prod.Example.org.") as (port, _):
        for what, name, kind, expected in CASES:
            answers = by_dnspython(absolute(name, "prod.example.org"), kind, port, tcp=False)[1]
            if name != "alias.shop.svc":  # which leads out of this cluster, then
                assert answers == {text.format(domain="prod.example.org") for text in expected}, what
        assert by_dnspython("web.shop.svc.cluster.local.", "A", port, tcp=False)[0] == "REFUSED"


def test_several_questions_on_one_connection(port: int):
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        queries = [
            dns.message.make_query(f"{name}.shop.svc.cluster.local.", "A")
            for name in ("web", "unnamed", "nothing")
        ]
        for query in queries:
            wire = query.to_wire()
            connection.sendall(len(wire).to_bytes(2) + wire)
        stream = connection.makefile("rb")
        for query, addresses in zip(queries, ("10.96.0.80", "10.96.0.81", ""), strict=True):
            reply = dns.message.from_wire(stream.read(int.from_bytes(stream.read(2))))
            assert query.is_response(reply)
            assert " ".join(r.to_text() for rrset in reply.answer for r in rrset) == addresses
        stream.close()


def test_srv_brings_the_addresses_along(port: int):
    query = dns.message.make_query("_http._tcp.web.shop.svc.cluster.local.", "SRV", use_edns=0)
    reply = dns.query.udp(query, "127.0.0.1", port=port, timeout=5)
    assert {r.to_text() for rrset in reply.additional for r in rrset} == {"10.96.0.80", "fd00:10:96::80"}


def test_name_servers_bring_their_addresses_along(port: int):
    reply = dns.query.udp(dns.message.make_query("cluster.local.", "NS"), "127.0.0.1", port=port, timeout=5)
    assert [r.to_text() for rrset in reply.additional for r in rrset] == ["10.96.0.10"]


def test_every_answer_keeps_the_ttl(port: int):
    for name, kind in (("web.shop.svc.cluster.local.", "A"), ("none.shop.svc.cluster.local.", "A")):
        reply = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", port=port, timeout=5)
        assert {rrset.ttl for rrset in [*reply.answer, *reply.authority]} == {5}
