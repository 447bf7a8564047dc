"""What the nftables target writes: one table test a construct, and the scripts of whole programs."""

import random

import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings
from kcompile.passes import resolve
from kcompile.program import apply_changes
from kcompile.targets.nftables import NftablesTarget
from kcompile.targets.nftables.resources import ChainKey, Map, Rule, comment_text

TARGET = NftablesTarget()
NODE = NodeFacts(name="a", addresses=("192.0.2.10",))
SETTINGS = Settings(
    compat=Compat.of("nftables"), detector=Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00::/48")
)


def port(**kwargs):
    values = {
        "name": "ns/s:http",
        "family": Family.IPV4,
        "protocol": Protocol.TCP,
        "port": 80,
        "cluster_ip": "10.96.0.1",
    }
    endpoints = (Endpoint("10.244.0.1", 8080, "a"), Endpoint("10.244.1.1", 8080, "b"))
    return ServicePort(**{**values, "endpoints": endpoints, **kwargs})


def lower(*ports, settings=SETTINGS, node=NODE):
    return TARGET.lower(resolve(ports, node, settings))


def elements(program, name):
    return {k.key: v[0] for k, v in program.items() if k.kind == "element" and k.map == name}


def rules(program, name, family="ip"):
    return [r.text for r in program[ChainKey(family, name)].rules]


def test_a_cluster_ip_is_one_dispatch_element_and_one_element_a_backend():
    program = lower(port())
    assert elements(program, "frontends") == {"10.96.0.1 . tcp . 80": "goto tcp-masquerade-outside-2"}
    assert elements(program, "tcp-backends") == {
        "10.96.0.1 . 80 . 0": "10.244.0.1 . 8080",
        "10.96.0.1 . 80 . 1": "10.244.1.1 . 8080",
    }
    assert rules(program, "tcp-masquerade-outside-2") == [
        "ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000",
        "dnat ip to ip daddr . tcp dport . numgen random mod 2 map @tcp-backends",
    ]


def test_services_of_one_shape_share_its_chain():
    program = lower(*(port(name=f"ns/s{i}:http", cluster_ip=f"10.96.0.{i}") for i in range(1, 100)))
    assert len([k for k in program if k.kind == "chain"]) == len(
        [k for k in lower(port()) if k.kind == "chain"]
    )


@pytest.mark.parametrize(
    ("change", "settings", "chain"),
    [
        ({}, Settings(compat=Compat.of("nftables")), "tcp-plain-2"),
        ({}, Settings(compat=Compat.of("nftables"), masquerade_all=True), "tcp-masquerade-2"),
        ({"protocol": Protocol.SCTP}, SETTINGS, "sctp-masquerade-outside-2"),
    ],
)
def test_shapes(change, settings, chain):
    program = lower(port(**change), settings=settings)
    assert list(elements(program, "frontends").values()) == [f"goto {chain}"]


def test_external_local_short_circuits_insiders():
    program = lower(port(node_port=30000, external_local=True))
    assert elements(program, "node-ports") == {"tcp . 30000": "goto tcp-node-port-local-2-1"}
    assert rules(program, "tcp-node-port-local-2-1") == [
        "ip saddr 10.244.0.0/16 dnat ip to tcp dport . numgen random mod 2 map @tcp-node-port-insiders",
        "fib saddr type local meta mark set meta mark | 0x4000",
        "fib saddr type local dnat ip to tcp dport . numgen random mod 2 map @tcp-node-port-insiders",
        "dnat ip to tcp dport . numgen random mod 1 map @tcp-node-port-backends",
    ]
    assert len(elements(program, "tcp-node-port-insiders")) == 2
    assert elements(program, "tcp-node-port-backends") == {"30000 . 0": "10.244.0.1 . 8080"}


def test_no_endpoints_are_rejected_and_nothing_is_dispatched():
    program = lower(port(endpoints=(), node_port=30000))
    assert elements(program, "blocked") == {"10.96.0.1 . tcp . 80": "goto no-endpoints"}
    assert elements(program, "blocked-node-ports") == {"tcp . 30000": "goto no-endpoints"}
    assert elements(program, "frontends") == {}
    assert ChainKey("ip", "prerouting") not in program


def test_source_ranges_share_a_chain_and_may_overlap():
    ranges = ("203.0.113.0/24", "203.0.113.0/29")
    program = lower(
        port(load_balancer_ips=("198.18.0.1",), source_ranges=ranges),
        port(
            name="ns/t:http", cluster_ip="10.96.0.2", load_balancer_ips=("198.18.0.2",), source_ranges=ranges
        ),
    )
    chains = set(elements(program, "guarded").values())
    assert len(chains) == 1
    assert rules(program, chains.pop().removeprefix("goto ")) == ["ip saddr != { 203.0.113.0/24 } drop"]


def test_node_ports_answer_on_the_named_addresses_only():
    node = NodeFacts(name="a", addresses=("192.0.2.10",), node_ports4=("192.0.2.10", "127.0.0.1"))
    program = lower(port(node_port=30000), node=node)
    assert elements(program, "node-addresses") == {"192.0.2.10": ""}
    assert "ip daddr @node-addresses meta l4proto . th dport vmap @node-ports" in rules(program, "prerouting")


def test_unknown_ports_and_addresses_follow_the_compatibility_record():
    cidrs = ("10.96.0.0/12",)
    nft = lower(port(), settings=Settings(compat=Compat.of("nftables"), service_cidrs=cidrs))
    ipt = lower(port(), settings=Settings(compat=Compat.of("iptables"), service_cidrs=cidrs))
    assert rules(nft, "refuse-output") == [
        "ct state new ip daddr @cluster-ips reject",
        "ct state new ip daddr { 10.96.0.0/12 } drop",
    ]
    assert rules(nft, "refuse-prerouting") == [
        "ct state new ip daddr @cluster-ips fib daddr type != local reject",
        "ct state new ip daddr { 10.96.0.0/12 } fib daddr type != local drop",
    ]
    assert ChainKey("ip", "refuse-output") not in ipt


def test_only_what_kube_proxy_refuses_on_the_way_in_is_in_a_chain_for_every_packet():
    settings = Settings(compat=Compat.of("nftables"), service_cidrs=("10.96.0.0/12",))
    empty = port(name="ns/none:http", cluster_ip="10.96.0.2", node_port=30000, endpoints=())
    guarded = port(
        name="ns/lb:http",
        cluster_ip="10.96.0.3",
        load_balancer_ips=("198.18.0.1",),
        source_ranges=("203.0.113.0/24",),
    )
    program = lower(port(), empty, guarded, settings=settings)
    hooks = {k.name: v.hook for k, v in program.items() if k.kind == "chain" and v.hook}
    assert {hook.split()[0] for hook in hooks.values()} == {"nat"}
    assert len(hooks) == 7


def test_affinity_has_a_set_a_backend_whose_name_changes_with_the_time():
    short, long = lower(port(affinity_seconds=60)), lower(port(affinity_seconds=10800))
    sets = [{k.name: v.timeout for k, v in p.items() if k.kind == "map" and v.timeout} for p in (short, long)]
    assert [sorted(s.values()) for s in sets] == [[60, 60], [10800, 10800]]
    assert not set(sets[0]) & set(sets[1])


def test_ipv6_has_a_table_of_its_own():
    program = lower(port(family=Family.IPV6, cluster_ip="fd00::1", endpoints=(Endpoint("fd00::2", 80, "a"),)))
    assert {k.family for k in program} == {"ip6"}
    assert elements(program, "tcp-backends") == {"fd00::1 . 80 . 0": "fd00::2 . 80"}


def test_comments_fit_the_kernel_and_stay_apart():
    long = "n" * 63 + "/" + "s" * 63 + ":"
    one, two = comment_text(long + "a"), comment_text(long + "b")
    assert len(one) == 127
    assert one != two
    assert comment_text("ns/s:http ClusterIP") == "ns/s:http ClusterIP"


def test_rules_compare_by_the_checksum_of_their_text():
    assert Rule.make("accept", "why") == Rule("", Rule.make("accept", "why").comment)
    assert Rule.make("accept", "why") != Rule.make("drop", "why")


def test_maps_write_the_types_that_nft_reads_back():
    backends = Map(("ipv4_addr", "inet_service", "integer"), ("ipv4_addr", "inet_service"))
    assert backends.write("ip", "udp-backends") == (
        "add map ip kcompile udp-backends "
        "{ typeof ip daddr . udp dport . numgen random mod 2 : ip daddr . udp dport; }"
    )
    assert (
        Map(("ipv4_addr",), timeout=60).write("ip", "c")
        == "add set ip kcompile c { type ipv4_addr; flags dynamic,timeout; timeout 60s; }"
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_diff_of_random_programs_is_exact(seed):
    a, b = (TARGET.lower(random_dataplane(random.Random(s))) for s in (seed, seed + 100))
    assert apply_changes(a, TARGET.diff(a, b)) == b
    assert TARGET.diff(b, b) == ()
    assert TARGET.scripts(()) == {}


def test_one_endpoint_less_changes_a_handful_of_elements():
    ports = [port(name=f"ns/s{i}:http", cluster_ip=f"10.96.1.{i}") for i in range(1, 200)]
    before = lower(*ports)
    ports[50] = port(
        name="ns/s51:http", cluster_ip="10.96.1.51", endpoints=(Endpoint("10.244.1.1", 8080, "b"),)
    )
    changes = TARGET.diff(before, lower(*ports))
    assert len(changes) <= 6
