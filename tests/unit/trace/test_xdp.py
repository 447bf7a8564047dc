"""The eBPF programs in the model; flow cases of mode xdp are in test_flowcases.py."""

from fractions import Fraction

import pytest

from kcompile.targets.xdp.layout import CONSTANTS
from kcompile.targets.xdp.resources import (
    AddressKey,
    AttachKey,
    Config,
    ConfigKey,
    FrontendKey,
    Interface,
    InterfaceKey,
    Listener,
    Local,
    LocalKey,
    Member,
    Pool,
    PoolKey,
    RangeKey,
)
from kcompile.trace.journey import Rules, travel
from kcompile.trace.lowered import base_chains
from kcompile.trace.outcome import End
from kcompile.trace.packet import Host, Packet, State

NODE, VIP, POD = "192.0.2.10", "10.96.0.10", "10.244.0.5"
HAIRPIN = CONSTANTS["BACKEND_HAIRPIN"]
PROGRAM = {
    ConfigKey(): Config(pods4="10.244.0.0/24", service_cidrs=("10.96.0.0/12",), sockets="tcp"),
    LocalKey(4, NODE): Local(node_ports=True, masquerade=True),
    InterfaceKey("eth0"): Interface(address4=NODE),
    InterfaceKey("bare0"): Interface(),
    PoolKey(4, "tcp", "shop/web", "cluster"): Pool(
        2, (Member(POD, 8080, HAIRPIN), Member("10.244.1.5", 8080, 0))
    ),
    RangeKey(4, "tcp", "shop/web", "203.0.113.0/24"): "",
    FrontendKey(4, "tcp", VIP, 80): Listener(
        "shop/web", "ClusterIP", "dnat cluster", "dnat cluster masquerade", "dnat cluster masquerade"
    ),
    FrontendKey(4, "tcp", VIP, 81): Listener("shop/web", "ClusterIP", *["dnat cluster"] * 3, ranges=True),
    FrontendKey(4, "tcp", "", 30080): Listener("shop/web", "NodePort", *["dnat cluster"] * 3),
    AddressKey(4, VIP): "reject",
    AttachKey("ingress", "eth0"): "tc",
    AttachKey("egress", "eth0"): "tc",
    AttachKey("egress", "lo"): "tc",
    AttachKey("connect4", "root"): "cgroup",
}
PACKET = Packet(source="203.0.113.7", destination=VIP, port=80, iif="eth0")


def route(address):
    return {"9.": None, "8.": "bare0"}.get(address[:2], "eth0")


def ends(packet=PACKET, program=PROGRAM, **host):
    """End, destination and whether it is masqueraded, with the probability of each."""
    found = {}
    there = Host(addresses=frozenset((NODE,)), route=route, **host)
    for each in travel(Rules(base_chains(program)), there, packet):
        key = each.end, each.packet.destination, each.packet.masqueraded
        found[key] = found.get(key, 0) + each.weight
    return found


def verdicts(*packet, **more):
    return {end for end, _, _ in ends(*packet, **more)}


def test_a_client_outside_is_sent_straight_to_a_backend():
    half = Fraction(1, 2)
    assert ends() == {(End.SENT, POD, True): half, (End.SENT, "10.244.1.5", True): half}


def test_a_pod_that_reaches_itself_is_masqueraded():
    half = Fraction(1, 2)
    found = ends(PACKET.changed(source=POD))
    assert found == {(End.SENT, POD, True): half, (End.SENT, "10.244.1.5", False): half}


@pytest.mark.parametrize("sockets", ["tcp", "off"])
def test_the_node_itself(sockets: str):
    """By its sockets, or on the way out."""
    program = PROGRAM | {ConfigKey(): Config(service_cidrs=("10.96.0.0/12",), sockets=sockets)}
    found = ends(PACKET.changed(iif="", source=NODE), program)
    assert found == {(End.SENT, POD, True): Fraction(1, 2), (End.SENT, "10.244.1.5", True): Fraction(1, 2)}


def test_what_is_dropped_or_rejected():
    assert verdicts(PACKET.changed(port=99)) == {End.REJECTED}
    assert verdicts(PACKET.changed(destination="10.96.0.11")) == {End.DROPPED}
    assert verdicts(PACKET.changed(port=81)) == {End.SENT}
    assert verdicts(PACKET.changed(port=81, source="198.51.100.1")) == {End.DROPPED}


def test_what_the_programs_leave_alone():
    for packet in (
        PACKET.changed(iif="eth1"),
        PACKET.changed(protocol="esp"),
        PACKET.changed(source="127.0.0.1"),
        PACKET.changed(destination="198.51.100.1"),
    ):
        assert set(ends(packet)) == {(End.SENT, packet.destination, False)}


def test_without_a_route():
    pool = {PoolKey(4, "tcp", "shop/web", "cluster"): Pool(1, (Member("9.9.9.9", 80, 0),))}
    assert verdicts(PACKET, PROGRAM | pool) == {End.DROPPED}
    assert verdicts(PACKET.changed(source=POD), PROGRAM | pool) == {End.NO_ROUTE}
    assert verdicts(PACKET.changed(source=POD), forwards=lambda _: False) == {
        End.NOT_FORWARDED,
        End.DROPPED,  # the pod's own address, which is masqueraded
    }
    nothing = {PoolKey(4, "tcp", "shop/web", "cluster"): Pool(1, (Member("8.8.8.8", 80, 0),))}
    assert verdicts(PACKET, PROGRAM | nothing) == {End.DROPPED}  # bare0 has no address to masquerade with


def test_a_process_of_the_node_serves():
    pool = {PoolKey(4, "tcp", "shop/web", "cluster"): Pool(1, (Member(NODE, 8080, 0),))}
    assert ends(PACKET, PROGRAM | pool) == {(End.DELIVERED, NODE, False): 1}
    own = PACKET.changed(iif="", source=NODE, destination=NODE, port=30080)
    assert ends(own, PROGRAM | pool) == {(End.DELIVERED, NODE, False): 1}


def test_an_open_connection_is_known_to_the_maps_alone():
    known = PACKET.changed(state=State.ESTABLISHED)
    assert verdicts(known) == {End.UNKNOWN}
    answer = known.changed(source=POD, source_port=8080, destination="203.0.113.7", port=40000)
    assert verdicts(answer) == {End.UNKNOWN}
    assert verdicts(known.changed(destination="198.51.100.1")) == {End.SENT}
