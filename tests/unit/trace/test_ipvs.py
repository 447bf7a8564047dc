"""Virtual servers and ipsets as kernels show them; flow cases of mode ipvs are in test_flowcases.py."""

from fractions import Fraction

import pytest

from kcompile.trace.iptables import from_save as from_iptables_save
from kcompile.trace.ipvs import from_save, sets_of_save
from kcompile.trace.journey import Rules, travel
from kcompile.trace.outcome import End
from kcompile.trace.packet import Host, Packet, State

# as kube-proxy has it: the VIP is an address of the node
HOST = Host(addresses=frozenset(("192.0.2.10", "10.96.0.10", "fd00::10")))
PACKET = Packet(source="203.0.113.7", destination="10.96.0.10", port=80, iif="eth0")
SERVERS = """\
-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 1
-a -t 10.96.0.10:80 -r 192.0.2.10:8080 -m -w 3
-a -t 10.96.0.10:80 -r 10.244.1.6:8080 -m -w 0
-A -t [fd00::10]:80 -s rr
-A -f 7 -s rr
-a -f 7 -r 10.244.1.7:0 -m -w 1
""".splitlines()
SETS = """\
create CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1
add CLUSTER-IP 10.96.0.10,tcp:80
create CLIENTS hash:ip,port,net family inet hashsize 1024 maxelem 65536
add CLIENTS 10.96.0.10,tcp:80,203.0.113.0/24
create MARKS hash:ip family inet hashsize 1024 maxelem 65536 skbinfo
add MARKS 10.96.0.10 skbmark 0x7 comment "a b"
create OTHER bitmap:port range 1-2
""".splitlines()


def ends(packet=PACKET, *rules, table="mangle", hook="PREROUTING"):
    """End, destination and port, with the probability of each."""
    text = "\n".join([f"*{table}", *[f"-A {hook} {rule}" for rule in rules], "COMMIT"])
    chains = [*from_save(SERVERS), *from_iptables_save(text, 4)]
    host = Host(addresses=HOST.addresses, sets=sets_of_save(SETS))
    return {
        (each.end, each.packet.destination, each.packet.port): each.weight
        for each in travel(Rules(chains), host, packet)
    }


def test_real_servers_by_weight():
    assert ends() == {
        (End.SENT, "10.244.1.5", 8080): Fraction(1, 4),
        (End.DELIVERED, "192.0.2.10", 8080): Fraction(3, 4),
    }
    assert ends(PACKET.changed(iif="", source="192.0.2.10")) == ends()


def test_a_server_without_real_ones_rejects():
    packet = PACKET.changed(destination="fd00::10", source="fd00::9")
    assert ends(packet) == {(End.REJECTED, "fd00::10", 80): 1}


def test_a_mark_leads_to_its_own_server():
    rule = "-j SET --map-set MARKS dst --map-mark"
    assert ends(PACKET, rule) == {(End.SENT, "10.244.1.7", 80): 1}


@pytest.mark.parametrize(
    "rule", ["-d 10.244.1.5/32 -j DROP", "-m set ! --match-set CLUSTER-IP dst,dst -j DROP"]
)
def test_what_ipvs_sends_meets_the_rules_of_output(rule: str):
    found = ends(PACKET, rule, table="filter", hook="OUTPUT")
    assert found[End.DROPPED, "10.244.1.5", 8080] == Fraction(1, 4)


def test_sets_of_networks():
    rule = "-m set --match-set CLIENTS dst,dst,src -j DROP"
    assert set(ends(PACKET, rule)) == {(End.DROPPED, "10.96.0.10", 80)}
    assert len(ends(PACKET.changed(source="203.0.114.7"), rule)) == 2


@pytest.mark.parametrize(
    "rule",
    [
        "-m set --match-set OTHER dst -j DROP",
        "-j SET --map-set OTHER dst --map-mark",
        "-j SET --add-set MARKS dst",
    ],
)
def test_sets_that_the_model_does_not_know(rule: str):
    assert {end for end, _, _ in ends(PACKET, rule)} == {End.UNKNOWN}


def test_an_open_connection_has_a_server_that_only_ipvs_knows():
    assert {end for end, _, _ in ends(PACKET.changed(state=State.ESTABLISHED))} == {End.UNKNOWN}
