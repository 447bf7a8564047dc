"""The IR's Settings and NodeFacts out of configuration and Node."""

from __future__ import annotations

import pytest

from kcompile.errors import ConfigError, SpecError
from kcompile.ir.node import Compat, DetectMode, Detector, Settings
from kcompile.spec.config import Config
from kcompile.spec.kubeproxy import ConntrackSection, IptablesSection, NftablesSection
from kcompile.spec.node import node_facts, pick_node
from kcompile.spec.settings import compat_of, settings

from .make import inventory, node

IPTABLES, NFTABLES = Compat.of("iptables"), Compat.of("nftables")
ADDRESSES = [
    ("ExternalIP", "203.0.113.9"),
    ("Hostname", "node-a"),
    ("InternalIP", "192.0.2.10"),
    ("InternalIP", "2001:DB8:1::10"),
]
INTERFACES = ["127.0.0.1", "::1", "192.0.2.10", "198.51.100.10", "2001:db8:1::10", "fe80::1"]


def one_node(**fields):
    return inventory(node(**fields)).nodes[0]


# --- settings ---


@pytest.mark.parametrize(
    ("config", "mode", "compat", "wanted"),
    [
        ({}, "", "", NFTABLES),
        ({}, "iptables", "", IPTABLES),
        ({}, "nftables", "", NFTABLES),
        ({}, "ipvs", "", NFTABLES),
        ({"mode": "iptables"}, "", "", IPTABLES),
        ({"mode": "iptables"}, "nftables", "", NFTABLES),
        ({"compat": "iptables"}, "nftables", "", IPTABLES),
        ({"compat": "iptables"}, "nftables", "nftables", NFTABLES),
    ],
)
def test_whose_behaviour_is_followed(config, mode, compat, wanted):
    assert compat_of(Config(**config), mode, compat) == wanted
    assert settings(Config(**config), mode=mode, compat=compat).compat == wanted


def test_an_unknown_compat_is_refused():
    with pytest.raises(ConfigError, match="compat"):
        compat_of(Config(), "nftables", "ipvs")


def test_localhost_node_ports_can_be_switched_off():
    assert IPTABLES.localhost_node_ports
    assert not compat_of(Config(localhost_node_ports=False), "iptables").localhost_node_ports
    assert not compat_of(Config(), "nftables").localhost_node_ports


def test_masquerading_is_set_per_mode_unless_the_short_form_says():
    config = Config(
        iptables=IptablesSection(masquerade_bit=1, masquerade_all=True),
        nftables=NftablesSection(masquerade_bit=2),
    )
    found = {mode: settings(config, mode=mode) for mode in ("iptables", "nftables", "ipvs")}
    assert {mode: (s.masquerade_mark, s.masquerade_all) for mode, s in found.items()} == {
        "iptables": (2, True),
        "nftables": (4, False),
        "ipvs": (2, True),
    }
    assert (
        settings(
            Config(masquerade_bit=31, masquerade_all=True, nftables=config.nftables), mode="nftables"
        ).masquerade_mark
        == 1 << 31
    )
    assert settings(Config()).masquerade_mark == 0x4000


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, Detector()),
        (
            {
                "detect_mode": DetectMode.CLUSTER_CIDR,
                "detect_cidrs": ("fd00::/48", "10.244.0.0/16", "10.245.0.0/16"),
            },
            Detector(mode=DetectMode.CLUSTER_CIDR, cidr4="10.244.0.0/16", cidr6="fd00::/48"),
        ),
        (
            {"detect_mode": DetectMode.NODE_CIDR},
            Detector(mode=DetectMode.NODE_CIDR, cidr4="10.244.1.0/24", cidr6="fd00:1::/64"),
        ),
        (
            {"detect_mode": DetectMode.BRIDGE_INTERFACE, "detect_interface": "cbr0"},
            Detector(mode=DetectMode.BRIDGE_INTERFACE, interface="cbr0"),
        ),
    ],
)
def test_detectors(config, wanted):
    this = one_node(podCIDR="10.244.1.0/24", podCIDRs=["10.244.1.0/24", "FD00:1::/64"])
    assert settings(Config(**config), this).detector == wanted


def test_detecting_by_node_cidr_needs_one():
    for this in (None, one_node()):
        with pytest.raises(ConfigError, match="podCIDRs"):
            settings(Config(detect_mode=DetectMode.NODE_CIDR), this)


def test_service_cidrs_of_both_sources():
    manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "k"},
        "spec": {"cidrs": ["10.96.0.0/12", "FD00::1/108"]},
    }
    found = inventory(manifest).service_cidrs
    assert settings(Config(service_cidrs=("10.96.0.0/12", "10.0.0.0/24")), None, found).service_cidrs == (
        "10.96.0.0/12",
        "10.0.0.0/24",
        "fd00::/108",
    )


def test_sysctls_only_where_the_file_sets_them():
    assert settings(Config()) == Settings(compat=NFTABLES)
    conntrack = ConntrackSection(
        max_per_core=100, min=300, tcp_established_timeout=60.0, tcp_be_liberal=True, udp_timeout=5.0
    )
    found = settings(Config(conntrack=conntrack), cpus=2)
    assert found.sysctls == (
        ("net.netfilter.nf_conntrack_max", "300"),
        ("net.netfilter.nf_conntrack_tcp_timeout_established", "60"),
        ("net.netfilter.nf_conntrack_udp_timeout", "5"),
        ("net.netfilter.nf_conntrack_tcp_be_liberal", "1"),
    )
    assert not found.drop_invalid
    assert settings(Config(conntrack=conntrack), cpus=8).sysctls[0][1] == "800"


# --- the node ---


def test_facts_of_a_node():
    this = one_node(addresses=ADDRESSES, zone="zone-a", podCIDR="10.244.0.0/24")
    facts = node_facts(this, Config(), IPTABLES, INTERFACES)
    assert (facts.name, facts.zone, facts.pod_cidrs) == ("node-a", "zone-a", ("10.244.0.0/24",))
    assert facts.addresses == ("192.0.2.10", "2001:db8:1::10", "203.0.113.9")


def test_without_a_node_the_interfaces_say():
    facts = node_facts(None, Config(hostname="node-b"), NFTABLES, INTERFACES)
    assert (facts.name, facts.zone) == ("node-b", "")
    assert facts.addresses == ("192.0.2.10", "198.51.100.10", "2001:db8:1::10")
    assert (facts.node_ports4, facts.node_ports6) == (("192.0.2.10",), ("2001:db8:1::10",))


@pytest.mark.parametrize(
    ("compat", "given", "four", "six", "localnet"),
    [
        (IPTABLES, (), None, None, True),
        (NFTABLES, (), ("192.0.2.10",), ("2001:db8:1::10",), False),
        (IPTABLES, ("primary",), ("192.0.2.10",), ("2001:db8:1::10",), False),
        (IPTABLES, ("192.0.2.0/24",), ("192.0.2.10",), None, False),
        (NFTABLES, ("192.0.2.0/24",), ("192.0.2.10",), None, False),
        (IPTABLES, ("198.51.100.0/24", "192.0.2.0/24"), ("192.0.2.10", "198.51.100.10"), None, False),
        (IPTABLES, ("0.0.0.0/0",), None, None, True),
        (NFTABLES, ("0.0.0.0/0",), None, None, False),
        (IPTABLES, ("10.0.0.0/8",), (), None, False),
        (IPTABLES, ("127.0.0.0/8",), ("127.0.0.1",), None, True),
        (IPTABLES, ("127.5.0.0/16",), (), None, True),
        (NFTABLES, ("127.0.0.0/8",), (), None, False),
        (IPTABLES, ("2001:db8::/32",), None, ("2001:db8:1::10",), True),
        (IPTABLES, ("::1/128",), None, (), True),
    ],
)
def test_where_node_ports_answer(compat, given, four, six, localnet):
    facts = node_facts(one_node(addresses=ADDRESSES), Config(node_port_addresses=given), compat, INTERFACES)
    assert (facts.node_ports4, facts.node_ports6, facts.route_localnet) == (four, six, localnet)


def test_a_family_without_a_primary_address_means_all():
    facts = node_facts(one_node(addresses=[("InternalIP", "192.0.2.10")]), Config(), NFTABLES)
    assert (facts.node_ports4, facts.node_ports6) == (("192.0.2.10",), None)


# --- which node ---


def test_picking_a_node():
    none, one, two = inventory(), inventory(node("a")), inventory(node("a"), node("b"))
    assert pick_node(none) is None
    assert pick_node(none, "x") is None
    assert pick_node(one).metadata.name == "a"
    assert pick_node(two, "b").metadata.name == "b"
    with pytest.raises(SpecError, match="a, b"):
        pick_node(two)
    with pytest.raises(SpecError, match='no Node "x"; it has a, b'):
        pick_node(two, "x")
