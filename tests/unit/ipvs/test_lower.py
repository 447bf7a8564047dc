"""What a dataplane comes to: tables of single services, and what holds of any."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_dataplanes import random_dataplane, random_history
from kcompile.engine.session import differing
from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, Ipvs, NodeFacts, Settings
from kcompile.modes import MODES
from kcompile.passes import resolve
from kcompile.program import diff
from kcompile.targets.ipvs import IpvsTarget, marks
from kcompile.targets.ipvs.marks import Marks, is_ours, node_port_mark, protocol_of
from kcompile.targets.ipvs.resources import (
    SETS,
    AddressKey,
    RealServerKey,
    SetKey,
    VirtualServer,
    VirtualServerKey,
)
from kcompile.targets.xtables.keys import ChainKey, JumpKey

TARGET = IpvsTarget()
NODE = NodeFacts(
    name="node-a", addresses=("192.0.2.10",), interfaces=("127.0.0.1", "192.0.2.10", "192.0.2.77")
)
DETECTOR = Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00:10:244::/48")
SETTINGS = Settings(compat=Compat.of("nftables"), detector=DETECTOR, service_cidrs=("10.96.0.0/12",))
HERE, THERE = Endpoint("10.244.0.5", 8080, "node-a"), Endpoint("10.244.1.5", 8080, "node-b")


def program(settings=SETTINGS, **options):
    fields = {"protocol": Protocol.TCP, "port": 80, "endpoints": (HERE, THERE)} | options
    port = ServicePort(name="demo/web:http", family=Family.IPV4, cluster_ip="10.96.0.1", **fields)
    return TARGET.lower(resolve([port], NODE, settings))


def servers(made):
    found = {(key.protocol, key.address, key.port): [] for key in made if key.kind == "vs"}
    for key in made:
        if key.kind == "rs":
            found[key.protocol, key.address, key.port].append(key.ip)
    return found


def elements(made, name):
    return {key.entry: value for key, value in made.items() if key.kind == "element" and key.set == name}


def test_a_cluster_ip():
    made = program()
    assert servers(made) == {("tcp", "10.96.0.1", 80): ["10.244.0.5", "10.244.1.5"]}
    assert elements(made, "FRONTENDS") == {"10.96.0.1,tcp:80": 'comment "demo/web:http ClusterIP"'}
    assert set(elements(made, "OUTSIDE")) == {"10.96.0.1,tcp:80"}
    assert set(elements(made, "LOOP")) == {"10.244.0.5,tcp:8080,10.244.0.5"}
    assert [key for key in made if key.kind == "address"] == [AddressKey(4, "10.96.0.1")]


def test_a_node_port_is_one_virtual_server_whatever_the_addresses():
    made = program(node_port=30080)
    mark = f"{node_port_mark(4, 'tcp', 30080, True):#x}"
    assert servers(made)["fwmark", mark, 0] == ["10.244.0.5", "10.244.1.5"]
    text = f'comment "demo/web:http NodePort" skbmark {mark}'
    assert elements(made, "NODEPORTS") == {"0.0.0.0/1,tcp:30080": text, "128.0.0.0/1,tcp:30080": text}


def test_external_traffic_policy_local_has_a_pool_for_each_side():
    made = program(load_balancer_ips=("198.18.0.1",), external_local=True)
    found = servers(made)
    assert found["tcp", "198.18.0.1", 80] == ["10.244.0.5"]
    (mark,) = (place[1] for place in found if place[0] == "fwmark")
    assert found["fwmark", mark, 0] == ["10.244.0.5", "10.244.1.5"]
    assert elements(made, "INSIDE") == {"198.18.0.1,tcp:80": f"skbmark {mark}"}
    assert not elements(made, "MASQUERADE")


def test_external_traffic_policy_local_without_local_endpoints_drops_outsiders_only():
    made = program(load_balancer_ips=("198.18.0.1",), external_local=True, endpoints=(THERE,))
    assert ("tcp", "198.18.0.1", 80) not in servers(made)
    assert set(elements(made, "DROP")) == {"198.18.0.1,tcp:80"}
    assert set(elements(made, "INSIDE")) == {"198.18.0.1,tcp:80"}


def test_without_endpoints_all_is_rejected_and_no_virtual_server_is_left_empty():
    made = program(endpoints=(), node_port=30080, external_ips=("198.18.1.1",))
    assert servers(made) == {}
    assert set(elements(made, "REJECT")) == {"10.96.0.1,tcp:80", "198.18.1.1,tcp:80"}
    assert len(elements(made, "NP-REJECT")) == 2


def test_source_ranges():
    made = program(load_balancer_ips=("198.18.0.1",), source_ranges=("203.0.113.0/24", "198.51.100.7/32"))
    assert set(elements(made, "GUARDED")) == {"198.18.0.1,tcp:80"}
    assert set(elements(made, "RANGES")) == {
        "198.18.0.1,tcp:80,203.0.113.0/24",
        "198.18.0.1,tcp:80,198.51.100.7",
    }


@pytest.mark.parametrize("own", ["192.0.2.10", "192.0.2.77"])
def test_an_address_that_the_node_has_anyway_is_neither_bound_nor_closed(own):
    made = program(external_ips=(own,))
    assert AddressKey(4, own) not in made
    assert own not in elements(made, "VIPS")
    assert f"{own},tcp:80" in elements(made, "FRONTENDS")


def test_affinity_has_one_virtual_server_a_pool():
    made = program(affinity_seconds=600, node_port=30080, load_balancer_ips=("198.18.0.1",))
    assert servers(made) == {("tcp", "10.96.0.1", 80): ["10.244.0.5", "10.244.1.5"]}
    assert made[VirtualServerKey(4, "tcp", "10.96.0.1", 80)] == VirtualServer("rr", 1, 600)
    led = made[ChainKey("ip4", "nat", "KCOMPILE-IPVS-STICKY-VIPS")]
    assert led == ("-d 198.18.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.96.0.1:80",)


def test_affinity_with_two_pools_has_a_hidden_port_for_the_other():
    made = program(affinity_seconds=600, node_port=30080, external_local=True)
    assert servers(made) == {
        ("tcp", "10.96.0.1", 80): ["10.244.0.5", "10.244.1.5"],
        ("tcp", "10.96.0.1", 80 ^ 0x8000): ["10.244.0.5"],
    }
    assert f"10.96.0.1,tcp:{80 ^ 0x8000}" not in elements(made, "FRONTENDS")


@pytest.mark.parametrize(
    ("named", "default", "expected"),
    [("", "rr", "rr"), ("", "lc", "lc"), ("sh", "lc", "sh"), ("", "mh", "mh")],
)
def test_schedulers(named, default, expected):
    made = program(settings=msgspec.structs.replace(SETTINGS, ipvs=Ipvs(scheduler=default)), scheduler=named)
    assert made[VirtualServerKey(4, "tcp", "10.96.0.1", 80)] == VirtualServer(
        expected, 0x10 if expected == "mh" else 0
    )


def test_marks_keep_clear_of_others_bits():
    table = Marks(4)
    pools = [*((f"ns/svc-{i}:p", "udp", "cluster") for i in range(2000)), ("x", "sctp", "local")]
    for pool in pools:
        table.add(pool)
    found = {table.of(pool) for pool in pools[:-1]}
    found |= {
        node_port_mark(v, p, n, m)
        for v in (4, 6)
        for p in ("tcp", "udp", "sctp")
        for n in (1, 8192, 65535)
        for m in (True, False)
    }
    assert len(found) == 2036
    assert all(is_ours(mark) and not mark & 0xE000 and mark < 2**32 for mark in found)
    assert protocol_of(table.of(pools[-1])) == protocol_of(node_port_mark(6, "sctp", 65535, True)) == "sctp"


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_the_number_of_rules_depends_on_no_service_without_affinity(seed):
    dataplane = random_dataplane(random.Random(seed))
    plain = msgspec.structs.replace(
        dataplane, ports=tuple(msgspec.structs.replace(p, affinity_seconds=0) for p in dataplane.ports)
    )
    half = msgspec.structs.replace(plain, ports=plain.ports[: 1 + len(plain.ports) // 2])
    few, many = (
        {k: v for k, v in TARGET.lower(d).items() if isinstance(k, ChainKey | JumpKey)} for d in (half, plain)
    )
    assert all(many[key] == rules for key, rules in few.items())
    assert len(TARGET.lower(plain).keys() & {SetKey(v, name) for v in (4, 6) for name in SETS}) <= 2 * len(
        SETS
    )


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_every_frontend_is_shown_and_every_virtual_server_serves(seed):
    dataplane = random_dataplane(random.Random(seed))
    made = TARGET.lower(dataplane)
    assert all(servers(made).values())
    views = {(v.service, v.protocol, v.family, v.kind, v.address, v.port): v for v in TARGET.frontends(made)}
    for port in dataplane.ports:
        for f in port.frontends:
            view = views[
                port.name, port.protocol.value, port.family.value, f.kind.value, f.address or "*", f.port
            ]
            assert (view.verdict == "dnat") is f.policy.forwards
            if f.policy.forwards:
                assert view.affinity_seconds == port.affinity_seconds
                assert len(view.backends) == len(
                    {*port.cluster, *port.local} if not f.policy.one_pool else port.pool(f.policy.others.pool)
                )


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_the_order_of_ports_makes_no_difference_and_lowering_is_stable(seed):
    dataplane = random_dataplane(random.Random(seed))
    assert diff(TARGET.lower(dataplane), IpvsTarget().lower(dataplane)) == ()


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_what_is_shown_does_not_depend_on_the_order_in_which_the_kernel_lists_servers(seed, order):
    made = TARGET.lower(random_dataplane(random.Random(seed)))
    shuffled = list(made.items())
    random.Random(order).shuffle(shuffled)
    servers_only = dict(sorted(shuffled, key=lambda item: not isinstance(item[0], RealServerKey)))
    assert TARGET.frontends(
        servers_only | {k: v for k, v in made.items() if not isinstance(k, RealServerKey)}
    ) == TARGET.frontends(made)


@pytest.mark.parametrize("seed", range(60))
def test_a_program_that_follows_its_ports_gives_the_same_marks_where_hashes_meet(seed, monkeypatch):
    monkeypatch.setattr(marks, "_SLOTS", 64)
    history = random_history(random.Random(seed), services=8)
    now = next(history)
    kept = MODES["ipvs"].follow(now)
    for later in history:
        gone, come = differing(now, later)
        kept.replace(gone.ports, come.ports)
        standing = tuple(version for version in (4, 6) if SetKey(version, "FRONTENDS") in kept.program)
        assert kept.program == TARGET.lower(msgspec.structs.replace(later, standing=standing))
        now = later
