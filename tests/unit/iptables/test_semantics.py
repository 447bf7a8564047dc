"""Packets through lowered rules get what the dataplane says: for dataplanes that the passes make, and for any
other.
"""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import FrontendKind
from kcompile.targets.iptables import IptablesTarget
from unit.iptables.expectations import expected, packets, with_any_policies
from unit.iptables.walker import Packet, Walker

TARGET = IptablesTarget()
seeds = st.integers(0, 2**32)


def check(dataplane, rng, count=150):
    if not dataplane.ports:
        return
    program = TARGET.lower(dataplane)
    walkers = {"ip4": Walker(program, "ip4"), "ip6": Walker(program, "ip6")}
    for packet in packets(rng, dataplane, count):
        walker = walkers["ip6" if ":" in packet.destination else "ip4"]
        assert walker.outcomes(packet) == expected(dataplane, packet), packet


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_packets_get_what_the_passes_decided(seed):
    rng = random.Random(seed)
    check(random_dataplane(rng), rng)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_packets_get_what_any_policy_says(seed):
    rng = random.Random(seed)
    check(with_any_policies(rng, random_dataplane(rng)), rng)


@pytest.mark.parametrize(("reject", "drop"), [(True, False), (False, True), (True, True)])
def test_unknown_ports_and_unallocated_addresses_apart(reject, drop):
    rng = random.Random(5)
    dataplane = random_dataplane(rng, 40)
    compat = msgspec.structs.replace(
        dataplane.settings.compat, reject_unknown_ports=reject, drop_unallocated=drop
    )
    cidrs = ("10.96.0.0/12", "fd00:10:96::/108")
    known = msgspec.structs.replace(dataplane.settings, compat=compat, service_cidrs=cidrs)
    check(msgspec.structs.replace(dataplane, settings=known), rng, 500)


def test_no_packet_keeps_a_mark_that_it_came_without():
    """The mark that is set ahead of the tree is off again on whatever no DNAT has touched."""
    rng = random.Random(3)
    dataplane = random_dataplane(rng, 30)
    walker = Walker(TARGET.lower(dataplane), "ip4")
    for packet in packets(rng, dataplane, 400):
        if "." in packet.destination:
            for after in walker.after_nat(packet):
                assert after.dnat or after.mark == 0


def test_the_last_of_many_is_near():
    """A packet looks at few rules, whether it is for the first VIP, the last or none."""
    dataplane = random_dataplane(random.Random(1), 500)
    program = TARGET.lower(dataplane)
    vips = [
        (f.address, p)
        for p in dataplane.ports
        for f in p.frontends
        if f.kind is FrontendKind.CLUSTER_IP and "." in f.address
    ]
    walker = Walker(program, "ip4")
    for address, port in (*vips[:50], *vips[-50:]):
        walker.outcomes(Packet("203.0.113.3", address, port.protocol.lower, port.frontends[0].port))
    assert walker.steps < 130
    direct = Walker(program, "ip4")
    direct.outcomes(Packet("203.0.113.3", "10.244.3.3", "tcp", 80))
    assert direct.steps <= 32
