"""What a dataplane comes to: single services, interfaces and attachments, and what holds of any."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import Dataplane, Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, Link, NodeFacts, Settings, Xdp
from kcompile.kernel.bpf import entries
from kcompile.passes import resolve
from kcompile.program import diff
from kcompile.targets.nftables import NftablesTarget
from kcompile.targets.node import SysctlKey, lower_node
from kcompile.targets.xdp import XdpTarget, limits
from kcompile.targets.xdp.layout import CONSTANTS
from kcompile.targets.xdp.resources import (
    DISPOSITIONS,
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
    ServingKey,
)

TARGET = XdpTarget()
CLUSTER, LOCAL = CONSTANTS["BACKEND_CLUSTER"], CONSTANTS["BACKEND_LOCAL"]
ON_NODE, HAIRPIN = CONSTANTS["BACKEND_ON_NODE"], CONSTANTS["BACKEND_HAIRPIN"]
NIC = Link(name="eth0", native_xdp=True, addresses=("192.0.2.10", "2001:db8::10"))
LINKS = (
    Link(name="lo", loopback=True),
    NIC,
    Link(name="pod0", kind="veth", peer_elsewhere=True),
    Link(name="pod1", kind="veth", peer_elsewhere=True, upper="bridge"),
    Link(name="br0", kind="bridge", addresses=("10.244.0.1",)),
    Link(name="vrf-a", kind="vrf"),
    Link(name="eth1", upper="vrf"),
    Link(name="wg0", kind="wireguard", ethernet=False, bare=True),
    Link(name="gre0", kind="gre", ethernet=False),
)
NODE = NodeFacts(
    name="node-a",
    addresses=("192.0.2.10", "2001:db8::10"),
    interfaces=("127.0.0.1", "192.0.2.10", "192.0.2.77"),
    links=LINKS,
    node_ports4=("192.0.2.10",),
)
DETECTOR = Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00:10:244::/48")
SETTINGS = Settings(compat=Compat.of("nftables"), detector=DETECTOR, service_cidrs=("10.96.0.0/12",))
HERE, THERE = Endpoint("10.244.0.5", 8080, "node-a"), Endpoint("10.244.1.5", 8080, "node-b")


def dataplane(how: Settings = SETTINGS, node: NodeFacts = NODE, **options: Any) -> Dataplane:
    fields = {"protocol": Protocol.TCP, "port": 80, "endpoints": (HERE, THERE)} | options
    port = ServicePort(name="demo/web:http", family=Family.IPV4, cluster_ip="10.96.0.1", **fields)
    return resolve([port], node, how)


def program(how: Settings = SETTINGS, node: NodeFacts = NODE, **options: Any) -> dict[Any, Any]:
    return TARGET.lower(dataplane(how, node, **options))


def kinds(made: dict[Any, Any], *wanted: str) -> dict[Any, Any]:
    return {key: value for key, value in made.items() if key.kind in wanted}


def test_a_cluster_ip():
    assert kinds(program(), "frontend", "pool", "address", "range", "serving", "config") == {
        ConfigKey(): Config("10.244.0.0/16", "fd00:10:244::/48", ("10.96.0.0/12",)),
        PoolKey(4, "tcp", "demo/web:http", "cluster"): Pool(
            211,
            (Member("10.244.0.5", 8080, CLUSTER | ON_NODE | HAIRPIN), Member("10.244.1.5", 8080, CLUSTER)),
        ),
        FrontendKey(4, "tcp", "10.96.0.1", 80): Listener(
            "demo/web:http", "ClusterIP", "dnat cluster", "dnat cluster masquerade", "dnat cluster masquerade"
        ),
        AddressKey(4, "10.96.0.1"): "reject",
    }


def test_external_traffic_policy_local():
    made = program(
        external_local=True,
        node_port=30080,
        load_balancer_ips=("198.18.0.1",),
        source_ranges=("203.0.113.0/24",),
    )
    assert made[FrontendKey(4, "tcp", "", 30080)] == Listener(
        "demo/web:http", "NodePort", "dnat cluster", "dnat cluster masquerade", "dnat local"
    )
    assert made[FrontendKey(4, "tcp", "198.18.0.1", 80)].ranges
    assert RangeKey(4, "tcp", "demo/web:http", "203.0.113.0/24") in made
    assert [m.flags for m in made[PoolKey(4, "tcp", "demo/web:http", "local")].members] == [
        CLUSTER | LOCAL | ON_NODE | HAIRPIN
    ]
    assert [m.flags for m in made[PoolKey(4, "tcp", "demo/web:http", "cluster")].members] == [
        CLUSTER | LOCAL | ON_NODE | HAIRPIN,
        CLUSTER,
    ]


def test_backends_by_chance():
    made = program(msgspec.structs.replace(SETTINGS, xdp=Xdp(balance="random")))
    assert made[ConfigKey()].random
    assert made[PoolKey(4, "tcp", "demo/web:http", "cluster")].size == 2


def test_udp_endpoints_that_still_serve_keep_their_flows():
    leaving = Endpoint("10.244.2.5", 8080, "node-b", ready=False, serving=True, terminating=True)
    made = program(protocol=Protocol.UDP, endpoints=(HERE, leaving))
    assert made[ServingKey(4, "udp", "demo/web:http")] == (("10.244.2.5", 8080),)
    assert ServingKey(4, "tcp", "demo/web:http") not in program(endpoints=(HERE, leaving))


def test_sctp_is_served_as_tcp_is():
    plane = dataplane(protocol=Protocol.SCTP)
    assert limits(plane) == limits(dataplane()) == []
    kind_of = {type(key) for key in program()}
    assert {type(key) for key in TARGET.lower(plane)} == kind_of
    assert FrontendKey(4, "sctp", "10.96.0.1", 80) in TARGET.lower(plane)


def test_nothing_to_do_is_an_empty_program():
    assert TARGET.lower(Dataplane(NODE, msgspec.structs.replace(SETTINGS, service_cidrs=()), ())) == {}
    assert TARGET.lower(Dataplane(NODE, SETTINGS, ()))[ConfigKey()].service_cidrs == ("10.96.0.0/12",)


def test_service_cidrs_are_joined_and_no_more_than_fit():
    cidrs = ("10.96.0.0/13", "10.104.0.0/13", *(f"10.{n}.0.0/24" for n in range(5)))
    plane = dataplane(msgspec.structs.replace(SETTINGS, service_cidrs=cidrs))
    assert TARGET.lower(plane)[ConfigKey()].service_cidrs == (
        "10.0.0.0/24",
        "10.1.0.0/24",
        "10.2.0.0/24",
        "10.3.0.0/24",
    )
    assert [str(note) for note in limits(plane)] == [
        "mode xdp drops unallocated addresses in 4 IPv4 service CIDRs, and there are 6"
    ]


def test_the_node_needs_its_loopback_to_take_its_own_addresses():
    wanted = {key: value for key, value in lower_node(dataplane(), "xdp").items() if ".lo." in key.name}
    assert wanted == {
        SysctlKey("net.ipv4.conf.lo.accept_local"): "1",
        SysctlKey("net.ipv4.conf.lo.rp_filter"): "2",
    }
    assert not any(".lo." in key.name for key in lower_node(dataplane(), "nftables"))


def test_local_addresses():
    assert kinds(program(), "local") == {
        LocalKey(4, "127.0.0.1"): Local(),
        LocalKey(4, "192.0.2.10"): Local(node_ports=True, masquerade=True),
        LocalKey(4, "192.0.2.77"): Local(),
    }


def test_interfaces():
    own = {"address4": "192.0.2.10", "address6": "2001:db8::10"}
    assert kinds(program(), "interface") == {
        InterfaceKey("lo"): Interface(**own),
        InterfaceKey("eth0"): Interface(xdp=True, **own),
        InterfaceKey("pod0"): Interface(peer=True, **own),
        InterfaceKey("br0"): Interface(address4="10.244.0.1", address6="2001:db8::10"),
        InterfaceKey("vrf-a"): Interface(**own),
        InterfaceKey("eth1"): Interface(**own),
        InterfaceKey("wg0"): Interface(**own),
    }
    by_prefix = msgspec.structs.replace(
        SETTINGS, detector=Detector(DetectMode.INTERFACE_NAME_PREFIX, interface="pod")
    )
    assert [
        key.name for key, value in program(by_prefix).items() if key.kind == "interface" and value.pods
    ] == ["pod0"]
    by_bridge = msgspec.structs.replace(
        SETTINGS, detector=Detector(DetectMode.BRIDGE_INTERFACE, interface="br")
    )
    assert not [key for key, value in program(by_bridge).items() if key.kind == "interface" and value.pods]


def test_attachments():
    made = kinds(program(), "attach")
    assert {key.name for key in made if key.hook == "ingress"} == {
        "eth0",
        "pod0",
        "br0",
        "vrf-a",
        "eth1",
        "wg0",
    }
    assert {key.name for key in made if key.hook == "egress"} == {
        "lo",
        "eth0",
        "pod0",
        "br0",
        "vrf-a",
        "eth1",
        "wg0",
    }
    assert made[AttachKey("ingress", "wg0")] == "tc, no Ethernet header"
    assert {key: value for key, value in made.items() if key.hook == "xdp"} == {
        AttachKey("xdp", "eth0"): "native"
    }
    assert {key.hook for key in made if key.name == "root"} == {
        "connect4",
        "connect6",
        "getpeername4",
        "getpeername6",
    }


@pytest.mark.parametrize(("sockets", "hooks"), [("off", 0), ("tcp", 4), ("all", 8)])
def test_hooks_on_sockets(sockets: str, hooks: int):
    made = program(msgspec.structs.replace(SETTINGS, xdp=Xdp(sockets=sockets, cgroup="/cg/own")))
    assert len([key for key in made if key.kind == "attach" and key.name == "/cg/own"]) == hooks
    assert made[ConfigKey()].sockets == sockets


@pytest.mark.parametrize(
    ("wanted", "link", "how", "reason"),
    [
        ("auto", NIC, "native", ""),
        ("generic", NIC, "generic", ""),
        ("auto", msgspec.structs.replace(NIC, native_xdp=False), "", "eth0: its driver has no native XDP; "),
        (
            "auto",
            msgspec.structs.replace(NIC, native_xdp=None),
            "",
            "eth0: this kernel can't tell whether its driver has native XDP",
        ),
        ("native", msgspec.structs.replace(NIC, native_xdp=None), "native", ""),
        (
            "auto",
            msgspec.structs.replace(NIC, kind="veth"),
            "",
            "eth0: native XDP on a veth costs its segmentation offload; ",
        ),
        ("native", msgspec.structs.replace(NIC, kind="veth"), "native", ""),
        ("native", msgspec.structs.replace(NIC, kind="bond"), "", "eth0: a bond has no native XDP; "),
        ("auto", msgspec.structs.replace(NIC, kind="vlan"), "", "eth0: a VLAN has no native XDP; "),
    ],
)
def test_xdp_and_its_fallbacks(wanted: str, link: Link, how: str, reason: str):
    node = msgspec.structs.replace(NODE, links=(link,))
    plane = dataplane(msgspec.structs.replace(SETTINGS, xdp=Xdp(attach=wanted)), node)
    notes = limits(plane)
    assert TARGET.lower(plane).get(AttachKey("xdp", "eth0"), "") == how
    assert len(notes) == bool(reason)
    assert all(note.text.startswith(reason) for note in notes)


seeds = st.integers(0, 2**32 - 1)


def random_program(seed: int) -> tuple[Dataplane, dict[Any, Any]]:
    plane = random_dataplane(random.Random(seed))
    return plane, TARGET.lower(plane)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_every_disposition_finds_its_pool(seed: int):
    _, made = random_program(seed)
    for key, listener in kinds(made, "frontend").items():
        for words in (listener.pods, listener.host, listener.others):
            assert words in DISPOSITIONS
            if words.startswith("dnat"):
                assert made[PoolKey(key.version, key.protocol, listener.service, words.split()[1])].members
        ranges = [
            k for k in made if k.kind == "range" and k.owner == (key.version, key.protocol, listener.service)
        ]
        assert not listener.ranges or ranges


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_it_serves_what_nftables_serves(seed: int):
    plane, made = random_program(seed)
    nftables = NftablesTarget()
    expected = nftables.frontends(nftables.lower(plane))
    for ours, theirs in zip(TARGET.frontends(made), expected, strict=True):
        if ours.affinity_seconds:  # there a sticky Service shows the backends of both its pools
            assert set(ours.backends) <= set(theirs.backends)
            ours = msgspec.structs.replace(ours, backends=theirs.backends)
        assert ours == theirs


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_entries_read_back_as_they_were_written(seed: int):
    _, made = random_program(seed)
    for key, value in made.items():
        if key.kind == "frontend":
            entry = entries.frontend_entry(value, 7)
            packed = entries.frontend_key(key.version, key.protocol, key.address, key.port)
            assert entries.read_frontend(key.version, packed, entry, {7: value.service}.__getitem__) == (
                key,
                value,
            )
        elif key.kind == "config":
            assert entries.read_config(entries.config(value, 5)) == (value, 5)
        elif key.kind == "interface":
            assert entries.read_interface(entries.interface(value)) == value
        elif key.kind == "local":
            assert entries.read_local(entries.local_entry(value)) == value
        elif key.kind == "range":
            assert entries.read_range(key.version, entries.range_key(key.version, 9, key.cidr)) == (
                9,
                key.cidr,
            )


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_everything_can_be_said_in_one_line(seed: int):
    _, made = random_program(seed)
    lines = [TARGET.describe(key, value) for key, value in made.items()]
    assert all(line and "\n" not in line for line in lines)
    assert len(set(lines)) == len(lines)
    assert "".join(TARGET.scripts(diff({}, made)).values()).count("\n") == len(lines)
