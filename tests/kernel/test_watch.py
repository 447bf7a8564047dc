"""What `Watch` reports of a namespace in which somebody changes links, addresses and rules."""

import select
from contextlib import ExitStack

import pytest

from harness import netns
from kcompile.kernel.drivers import IptablesDriver, NftablesDriver
from kcompile.kernel.generation import generation
from kcompile.kernel.watch import Happened, Watch

pytestmark = pytest.mark.kernel

NOTHING = Happened()


@pytest.fixture
def node():
    with netns.group(["watch"]) as names, netns.enter(names["watch"]):
        netns.batch(["link set lo up", "link add eth9 type bridge"], names["watch"])
        yield names["watch"]


@pytest.fixture
def watch(node):
    assert node
    with Watch(NftablesDriver()) as watch:
        yield watch


def nft(node, text):
    netns.run(node, ["nft", "-f", "-"], text=text)


def test_nothing_happens(watch):
    assert watch.read() == NOTHING
    assert select.select(watch.filenos(), [], [], 0)[0] == []


@pytest.mark.parametrize("address", ["192.0.2.7/24", "2001:db8::7/64"])
def test_an_address_comes_and_goes(node, watch, address):
    for verb in ("add", "del"):
        netns.batch([f"address {verb} {address} dev eth9"], node)
        assert select.select(watch.filenos(), [], [], 5)[0]
        assert watch.read() == NOTHING._replace(addresses=True)


def test_a_link_comes_and_goes(node, watch):
    for command in ("link add eth8 type bridge", "link del eth8"):
        netns.batch([command], node)
        assert watch.read() == NOTHING._replace(links=True)


def test_the_device_of_mode_ipvs_is_no_link_of_the_node(node, watch):
    netns.batch(
        [
            "link add kcompile-ipvs0 type bridge",
            "address add 192.0.2.9/32 dev kcompile-ipvs0",
            "address del 192.0.2.9/32 dev kcompile-ipvs0",
        ],
        node,
    )
    assert watch.read() == NOTHING


def test_rules_flushed_by_hand(node, watch):
    nft(node, "add table ip kcompile; add chain ip kcompile c; add rule ip kcompile c accept")
    assert watch.read() == NOTHING._replace(generations=(generation(),))
    nft(node, "flush ruleset")
    assert watch.read() == NOTHING._replace(generations=(generation(),))


@pytest.mark.parametrize(
    "text",
    [
        "add rule ip kcompile c drop",
        "flush chain ip kcompile c",
        "add element ip kcompile s { 192.0.2.1 }",
        "delete set ip kcompile s",
        "delete table ip kcompile",
        "add table ip6 kcompile",
    ],
)
def test_each_change_of_our_table(node, text):
    nft(node, "table ip kcompile { set s { type ipv4_addr; }; chain c { accept; }; }")
    with Watch(NftablesDriver()) as watch:
        nft(node, text)
        assert watch.read().generations == (generation(),)


def test_tables_of_others_wake_nobody(node, watch):
    nft(node, 'table ip kcompile-other { chain kcompile { accept comment "kcompile"; }; }')
    netns.run(node, ["iptables-nft", "-t", "nat", "-N", "KCOMPILE-SERVICES"])
    nft(node, "delete table ip kcompile-other")
    assert watch.read() == NOTHING
    nft(node, "table ip other { }\ntable ip kcompile { }\ntable ip another { }")
    assert watch.read().generations == (generation(),)


def test_chains_and_jumps_of_iptables_nft(node):
    with Watch(IptablesDriver("nft")) as watch:
        for command, ours in (
            ("-N OTHER", False),
            ("-N KCOMPILE-SERVICES", True),
            ("-A OTHER -j RETURN", False),
            ("-A KCOMPILE-SERVICES -j RETURN", True),
            ("-I PREROUTING 1 -j KCOMPILE-SERVICES", True),
            ("-D PREROUTING 1", True),
            ("-F KCOMPILE-SERVICES", True),
            ("-X KCOMPILE-SERVICES", True),
            ("-F OTHER", False),
        ):
            netns.run(node, ["iptables-nft", "-t", "nat", *command.split()])
            assert (generation() in watch.read().generations) is ours, command


def test_the_legacy_variant_is_not_watched(node):
    with Watch(IptablesDriver("legacy")) as watch:
        nft(node, "table ip kcompile { }")
        assert watch.read() == NOTHING
        assert len(watch.filenos()) == 1


def test_more_than_the_kernel_can_keep(node, watch):
    with ExitStack() as stack:
        for socket in watch._sockets():
            stack.callback(socket._socket.setsockopt, *(1, 33, 8 << 20))
            socket._socket.setsockopt(1, 33, 1)  # SO_RCVBUFFORCE: the least that the kernel allows
        elements = ", ".join(f"10.0.{i // 250}.{i % 250}" for i in range(5000))
        nft(node, f"table ip kcompile {{ set s {{ type ipv4_addr; elements = {{ {elements} }}; }}; }}")
        netns.batch([f"address add 10.1.{i}.1/24 dev eth9" for i in range(200)], node)
        happened = watch.read()
        assert happened.lost
        assert happened.links
        assert happened.addresses
    assert watch.read() == NOTHING
    nft(node, "delete table ip kcompile")
    assert watch.read().generations == (generation(),)
