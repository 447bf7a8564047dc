"""The passes together: what each kind of frontend gets from each class of source."""

import msgspec
import pytest

from kcompile.ir.model import (
    Backend,
    Endpoint,
    Family,
    FrontendKind,
    PoolKind,
    Protocol,
    ServicePort,
    Verdict,
)
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings
from kcompile.passes import resolve, resolve_port
from kcompile.passes.guard import allowed_sources

NODE = NodeFacts(name="a", zone="z", addresses=("192.0.2.10", "2001:db8::10"))
CIDR = Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00::/48")
HERE, THERE = Endpoint("10.244.0.1", 80, "a"), Endpoint("10.244.1.1", 80, "b")


def settings(mode="iptables", detector=CIDR, **kwargs):
    return Settings(compat=Compat.of(mode), detector=detector, **kwargs)


def port(**kwargs):
    values = {
        "name": "ns/s:http",
        "family": Family.IPV4,
        "protocol": Protocol.TCP,
        "port": 80,
        "cluster_ip": "10.96.0.1",
    }
    return ServicePort(**{**values, "endpoints": (HERE, THERE), **kwargs})


def outcome(disposition):
    if disposition.verdict is not Verdict.DNAT:
        return disposition.verdict.value
    return disposition.pool.value + ("+masq" if disposition.masquerade else "")


def policy(resolved, kind):
    (found,) = [f.policy for f in resolved.frontends if f.kind is kind]
    return outcome(found.pods), outcome(found.host), outcome(found.others)


NONE = Detector()
CLUSTER, NODE_PORT, LB = FrontendKind.CLUSTER_IP, FrontendKind.NODE_PORT, FrontendKind.LOAD_BALANCER


@pytest.mark.parametrize(
    ("change", "options", "kind", "wanted"),
    [
        ({}, {}, CLUSTER, ("cluster", "cluster+masq", "cluster+masq")),
        ({}, {"detector": NONE}, CLUSTER, ("cluster", "cluster", "cluster")),
        ({}, {"masquerade_all": True}, CLUSTER, ("cluster+masq", "cluster+masq", "cluster+masq")),
        ({"internal_local": True}, {}, CLUSTER, ("local", "local+masq", "local+masq")),
        ({"internal_local": True, "endpoints": (THERE,)}, {}, CLUSTER, ("drop", "drop", "drop")),
        (
            {"internal_local": True, "endpoints": (THERE,), "node_port": 30000},
            {},
            NODE_PORT,
            ("cluster+masq",) * 3,
        ),
        ({"internal_local": True, "endpoints": ()}, {}, CLUSTER, ("reject", "reject", "reject")),
        ({"node_port": 30000}, {"detector": NONE}, NODE_PORT, ("cluster+masq",) * 3),
        ({"node_port": 30000, "external_local": True}, {}, NODE_PORT, ("cluster", "cluster+masq", "local")),
        (
            {"node_port": 30000, "external_local": True},
            {"detector": NONE},
            NODE_PORT,
            ("local", "cluster+masq", "local"),
        ),
        (
            {"node_port": 30000, "external_local": True, "endpoints": (THERE,)},
            {},
            NODE_PORT,
            ("cluster", "cluster+masq", "drop"),
        ),
        (
            {"node_port": 30000, "external_local": True},
            {"masquerade_all": True},
            NODE_PORT,
            ("cluster", "cluster+masq", "local"),
        ),
        ({"node_port": 30000, "endpoints": ()}, {}, NODE_PORT, ("reject", "reject", "reject")),
        ({"load_balancer_ips": ("198.18.0.1",), "endpoints": ()}, {}, LB, ("reject", "pass", "reject")),
        (
            {"load_balancer_ips": ("198.18.0.1",), "endpoints": ()},
            {"mode": "nftables"},
            LB,
            ("reject", "reject", "reject"),
        ),
    ],
)
def test_policy(change, options, kind, wanted):
    assert policy(resolve_port(port(**change), NODE, settings(**options)), kind) == wanted


def test_a_detector_without_a_cidr_of_the_family_detects_nothing_there():
    only4 = settings(detector=Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", ""))
    six = port(family=Family.IPV6, cluster_ip="fd00::1", endpoints=(Endpoint("fd00::2", 80, "a"),))
    assert policy(resolve_port(six, NODE, only4), CLUSTER) == ("cluster", "cluster", "cluster")


def test_pools_are_sorted_and_know_what_is_local():
    resolved = resolve_port(
        port(endpoints=(THERE, HERE), node_port=30000, external_local=True), NODE, settings()
    )
    assert resolved.cluster == (Backend("10.244.0.1", 80, True, True), Backend("10.244.1.1", 80))
    assert resolved.local == (Backend("10.244.0.1", 80, True, True),)
    assert resolved.pool(PoolKind.LOCAL) == resolved.local


def test_an_endpoint_without_a_node_may_call_itself():
    resolved = resolve_port(port(endpoints=(Endpoint("10.0.0.1", 80),)), NODE, settings())
    assert [b.hairpin for b in resolved.cluster] == [True]
    assert [b.local for b in resolved.cluster] == [False]


def test_local_pool_uses_terminating_endpoints_on_its_own_account():
    draining = Endpoint("10.244.0.9", 80, "a", ready=False, terminating=True)
    resolved = resolve_port(
        port(endpoints=(draining, THERE), node_port=30000, external_local=True), NODE, settings()
    )
    assert [b.ip for b in resolved.cluster] == ["10.244.1.1"]
    assert [b.ip for b in resolved.local] == ["10.244.0.9"]


def test_serving_endpoints_keep_their_udp_flows_even_when_not_chosen():
    far = msgspec.structs.replace(THERE, zone_hints=("other",))
    near = msgspec.structs.replace(HERE, zone_hints=("z",))
    dead = Endpoint("10.244.2.1", 80, "c", ready=False, serving=False)
    resolved = resolve_port(port(endpoints=(near, far, dead)), NODE, settings())
    assert [b.ip for b in resolved.cluster] == ["10.244.0.1"]
    assert set(resolved.serving) == {("10.244.0.1", 80), ("10.244.1.1", 80)}


@pytest.mark.parametrize(
    ("ranges", "node_ip", "wanted"),
    [
        ((), "192.0.2.10", ()),
        (("203.0.113.0/29",), "192.0.2.10", ("203.0.113.0/29",)),
        (("192.0.2.0/24",), "192.0.2.10", ("192.0.2.0/24", "198.18.0.1/32")),
        (("2001:db8::/64",), "2001:db8::10", ("2001:db8::/64", "198.18.0.1/128")),
        (("192.0.2.0/24",), "", ("192.0.2.0/24",)),
    ],
)
def test_allowed_sources(ranges, node_ip, wanted):
    assert allowed_sources(ranges, ("198.18.0.1",), node_ip) == wanted


@pytest.mark.parametrize(("mode", "wanted"), [("iptables", ()), ("nftables", ("203.0.113.0/29",))])
def test_source_ranges_of_a_port_without_endpoints(mode, wanted):
    lb = port(load_balancer_ips=("198.18.0.1",), source_ranges=("203.0.113.0/29",), endpoints=())
    assert resolve_port(lb, NODE, settings(mode)).frontends[1].source_ranges == wanted


def test_source_ranges_guard_load_balancer_addresses_only():
    lb = port(
        load_balancer_ips=("198.18.0.1",),
        external_ips=("198.18.0.2",),
        node_port=30000,
        source_ranges=("203.0.113.0/29",),
    )
    guarded = {f.kind: bool(f.source_ranges) for f in resolve_port(lb, NODE, settings()).frontends}
    assert guarded == {CLUSTER: False, FrontendKind.EXTERNAL_IP: False, LB: True, NODE_PORT: False}


def test_one_address_is_served_once_and_the_loser_is_told():
    first = port(name="ns/a:x", external_ips=("198.18.0.1",))
    second = port(name="ns/b:x", cluster_ip="10.96.0.2", external_ips=("198.18.0.1",))
    thief = port(name="ns/c:x", cluster_ip="10.96.0.3", external_ips=("10.96.0.2",))
    plane = resolve([second, thief, first], NODE, settings())
    served = {p.name: [f.address for f in p.frontends] for p in plane.ports}
    assert served == {"ns/a:x": ["10.96.0.1", "198.18.0.1"], "ns/b:x": ["10.96.0.2"], "ns/c:x": ["10.96.0.3"]}
    assert len(plane.notices) == 2
    assert "ns/b:x" in str(plane.notices[0])
    assert "ns/a:x" in str(plane.notices[0])


def test_order_of_input_does_not_matter():
    ports = [port(name=f"ns/{c}:x", cluster_ip=f"10.96.0.{i}") for i, c in enumerate("badc", 1)]
    assert resolve(ports, NODE, settings()) == resolve(reversed(ports), NODE, settings())


def test_health_checks_count_local_ready_addresses_once():
    both = {"external_local": True, "health_check_node_port": 30900, "node_port": 30000}
    other = Endpoint("10.244.0.7", 81, "a", ready=False)
    plane = resolve(
        [
            port(name="ns/s:a", **both),
            port(name="ns/s:b", port=81, endpoints=(HERE, THERE, other), **(both | {"node_port": 30001})),
        ],
        NODE,
        settings(),
    )
    (check,) = plane.health_checks
    assert (check.port, check.namespace, check.service, check.local_endpoints) == (30900, "ns", "s", 1)
