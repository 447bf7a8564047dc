"""Refusals of mode nftables leave alone what others have translated, or bound to the node."""

import socket

import pytest

from harness import netns
from harness.topology import Topology
from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings
from kcompile.kernel.nftables import Nft
from kcompile.passes import resolve
from kcompile.program import diff
from kcompile.targets.nftables import NftablesTarget

pytestmark = pytest.mark.kernel
NODE, CLIENT, POD = "192.0.2.10", "10.244.0.5", "10.244.0.21"
OTHERS, BOUND, NOBODYS = "10.96.5.5", "10.96.0.1", "10.96.9.9"
OTHER_PROXY = f"""
table ip other {{
    chain pre {{ type nat hook prerouting priority -100; ip daddr {OTHERS} tcp dport 80 dnat to {POD}:8080; }}
    chain out {{ type nat hook output priority -100; ip daddr {OTHERS} tcp dport 80 dnat to {POD}:8080; }}
}}
"""


@pytest.fixture(scope="module")
def topology():
    port = ServicePort(
        name="demo/web:p",
        family=Family.IPV4,
        protocol=Protocol.TCP,
        port=80,
        cluster_ip=BOUND,
        endpoints=(Endpoint(POD, 8080, "a"),),
    )
    settings = Settings(
        compat=Compat.of("nftables"),
        detector=Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16"),
        service_cidrs=("10.96.0.0/12",),
    )
    target = NftablesTarget()
    program = target.lower(resolve([port], NodeFacts(name="a", addresses=(NODE,)), settings))
    with Topology([NODE], [CLIENT, POD]) as made:
        with netns.enter(made.node), Nft() as nft:
            nft.apply("".join(target.scripts(diff({}, program)).values()))
            nft.apply(OTHER_PROXY)  # after ours, at the same priority
        netns.batch([f"addr add {BOUND}/32 dev lo"], made.node)
        yield made


def answers(topology, source, address, port):
    with netns.enter(topology.home(source)), socket.socket() as client:
        client.settimeout(0.3)
        try:
            client.connect((address, port))
        except TimeoutError:
            return "drop"
        except ConnectionRefusedError:
            return "reject"
    return "accept"


@pytest.mark.parametrize("source", [CLIENT, NODE])
def test_a_service_of_another_proxy_works(topology, source):
    with netns.enter(topology.pods[POD]), socket.create_server((POD, 8080)):
        assert answers(topology, source, OTHERS, 80) == "accept"
        assert answers(topology, CLIENT, BOUND, 80) == "accept"


def test_what_the_node_has_bound_is_its_own(topology):
    """As a cache of DNS on each node does with the address of kube-dns."""
    with netns.enter(topology.node), socket.create_server((BOUND, 9253)):
        assert answers(topology, CLIENT, BOUND, 9253) == "accept"


@pytest.mark.parametrize("source", [CLIENT, NODE])
def test_what_nobody_has_is_dropped(topology, source):
    assert answers(topology, source, NOBODYS, 80) == "drop"
