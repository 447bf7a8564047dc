"""What the allocators give, keep and refuse."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile.errors import AllocationError, ConfigError, KernelError
from kcompile.spec.addresses import network
from kcompile.spec.allocate import allocate
from kcompile.spec.state import AllocationState
from kcompile.spec.validate import validate

from .make import inventory, service

DUAL = ("10.96.0.0/24", "fd00:10:96::/112")


def given_out(*manifests, state=None, **options):
    found = inventory(*manifests)
    validate(found)
    after = allocate(found.services, state, **options)
    return {s.metadata.name: s.spec for s in found.services}, after


def test_nothing_is_allocated_for_headless_and_external_names():
    specs, after = given_out(
        service("a", clusterIP="None"), service("b", type="ExternalName", externalName="example.com")
    )
    assert (specs["a"].cluster_ip, specs["b"].cluster_ip) == ("None", None)
    assert after == AllocationState()


def test_addresses_to_avoid_are_given_out_last():
    _, first = given_out(service(), service_cidrs=["10.96.0.0/29"])
    avoid = first.cluster_ips["demo/web"]
    seen = []
    for _ in range(5):  # of eight addresses, five are given out
        _, after = given_out(service(), service_cidrs=["10.96.0.0/29"], avoid=seen)
        seen += after.cluster_ips["demo/web"]
    assert seen[:1] == avoid
    assert len(set(seen)) == 5
    assert (
        given_out(service(), service_cidrs=["10.96.0.0/29"], avoid=seen)[1].cluster_ips["demo/web"] == avoid
    )
    assert given_out(service(), state=first, service_cidrs=["10.96.0.0/29"], avoid=seen)[1] == first
    assert given_out(service(clusterIP=avoid[0]), avoid=avoid)[0]["web"].cluster_ip == avoid[0]


def test_explicit_values_stay_wherever_they_are():
    ports = [{"port": 80, "nodePort": 30080}]
    specs, after = given_out(
        service(type="NodePort", clusterIP="172.16.0.1", ports=ports), service_cidrs=["10.96.0.0/24"]
    )
    assert (specs["web"].cluster_ip, specs["web"].cluster_ips, specs["web"].ip_families) == (
        "172.16.0.1",
        ["172.16.0.1"],
        ["IPv4"],
    )
    assert after.node_ports == {"demo/web//TCP": 30080}


@pytest.mark.parametrize(
    ("spec", "cidrs", "families"),
    [
        ({}, DUAL, [4]),
        ({}, DUAL[::-1], [6]),
        ({"ipFamilyPolicy": "SingleStack"}, DUAL, [4]),
        ({"ipFamilyPolicy": "PreferDualStack"}, DUAL, [4, 6]),
        ({"ipFamilyPolicy": "PreferDualStack"}, DUAL[:1], [4]),
        ({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}, DUAL[:1], [4]),
        ({"ipFamilyPolicy": "RequireDualStack"}, DUAL[::-1], [6, 4]),
        ({"ipFamilies": ["IPv6"]}, DUAL, [6]),
        ({"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}, DUAL, [6, 4]),
        ({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "fd00::1"}, DUAL, [6, 4]),
        ({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "fd00::1"}, (), [6, 4]),
    ],
)
def test_families(spec, cidrs, families):
    specs, after = given_out(service(**spec), service_cidrs=cidrs)
    addresses = specs["web"].cluster_ips
    assert [6 if ":" in address else 4 for address in addresses] == families
    assert specs["web"].ip_families == [f"IPv{family}" for family in families]
    assert specs["web"].cluster_ip == addresses[0]
    assert after.cluster_ips == {"demo/web": addresses}


@pytest.mark.parametrize(
    ("spec", "has"),
    [
        ({"type": "ClusterIP"}, False),
        ({"type": "NodePort"}, True),
        ({"type": "LoadBalancer"}, True),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, False),
    ],
)
def test_who_gets_node_ports(spec, has):
    specs, _ = given_out(service(**spec))
    assert bool(specs["web"].ports[0].node_port) == has


def test_health_check_ports():
    specs, after = given_out(
        service(type="LoadBalancer", externalTrafficPolicy="Local"),
        service("b", type="NodePort", externalTrafficPolicy="Local"),
    )
    port = specs["web"].health_check_node_port
    assert 30000 <= port <= 32767
    assert port != specs["web"].ports[0].node_port
    assert after.health_check_node_ports == {"demo/web": port}
    assert specs["b"].health_check_node_port == 0


def test_one_node_port_for_a_port_in_tcp_and_udp():
    ports = [
        {"name": "t", "port": 53},
        {"name": "u", "port": 53, "protocol": "UDP"},
        {"name": "o", "port": 54},
    ]
    specs, _ = given_out(service(type="NodePort", ports=ports))
    tcp, udp, other = (port.node_port for port in specs["web"].ports)
    assert tcp == udp != other
    ports[1]["nodePort"] = 30053
    specs, _ = given_out(service(type="NodePort", ports=ports))
    assert specs["web"].ports[0].node_port == 30053


def test_two_services_never_share_a_number_that_was_allocated():
    services = [
        service(f"s{i}", type="NodePort", ports=[{"port": 1, "protocol": ("TCP", "UDP")[i % 2]}])
        for i in range(10)
    ]
    specs, _ = given_out(*services, node_port_range=(30000, 30009))
    assert sorted(spec.ports[0].node_port for spec in specs.values()) == list(range(30000, 30010))


def test_the_lower_band_is_left_to_explicit_values():
    services = [service(f"s{i}", type="NodePort") for i in range(40)]
    specs, _ = given_out(*services, service_cidrs=["10.96.0.0/24"])
    assert all(int(spec.cluster_ip.rsplit(".", 1)[1]) > 16 for spec in specs.values())
    assert all(spec.ports[0].node_port >= 30086 for spec in specs.values())


@pytest.mark.parametrize(
    ("cidr", "usable"),
    [("10.0.0.0/30", 1), ("10.0.0.0/29", 5), ("10.0.0.0/28", 13), ("10.0.0.0/24", 253), ("fd00::/124", 14)],
)
def test_a_range_is_used_up_to_the_last_address(cidr, usable):
    specs, _ = given_out(*(service(f"s{i}") for i in range(usable)), service_cidrs=[cidr])
    addresses = {spec.cluster_ip for spec in specs.values()}
    net = network(cidr)
    assert len(addresses) == usable
    assert not addresses & {net.address(0), net.address(1)}
    assert net.version == 6 or net.address(net.size - 1) not in addresses
    with pytest.raises(AllocationError, match="used up"):
        given_out(*(service(f"s{i}") for i in range(usable + 1)), service_cidrs=[cidr])


@pytest.mark.parametrize("cidr", ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127", "fd00::/128"])
def test_ranges_without_a_usable_address(cidr):
    with pytest.raises(AllocationError, match="used up"):
        given_out(service(), service_cidrs=[cidr])


def test_a_second_range_is_used_when_the_first_is_full():
    specs, _ = given_out(service("a"), service("b"), service_cidrs=["10.0.0.0/30", "10.0.1.0/30"])
    assert {spec.cluster_ip for spec in specs.values()} == {"10.0.0.2", "10.0.1.2"}


def test_node_ports_used_up():
    with pytest.raises(AllocationError, match="30000-30001") as caught:
        given_out(*(service(f"s{i}", type="NodePort") for i in range(3)), node_port_range=(30000, 30001))
    assert caught.value.obj == "Service demo/s2"


def test_values_are_kept_while_the_object_is_there():
    names = [f"s{i}" for i in range(20)]
    kinds = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ipFamilyPolicy": "PreferDualStack"}
    options = {"service_cidrs": ["10.96.0.0/26", "fd00:10:96::/122"], "node_port_range": (30000, 30063)}
    before, state = given_out(*(service(name, **kinds) for name in names), **options)
    again, state = given_out(
        *(service(name, **kinds) for name in [*names[5:], "new1", "new2"]), state=state, **options
    )
    for name in names[5:]:
        assert again[name] == before[name]
    assert set(state.cluster_ips) == {f"demo/{name}" for name in [*names[5:], "new1", "new2"]}


def test_an_explicit_value_wins_over_a_kept_one():
    before, state = given_out(service("a", type="NodePort"))
    ip, port = before["a"].cluster_ip, before["a"].ports[0].node_port
    after, _ = given_out(
        service("a", type="NodePort"),
        service("b", type="NodePort", clusterIP=ip, ports=[{"port": 1, "nodePort": port}]),
        state=state,
    )
    assert (after["b"].cluster_ip, after["b"].ports[0].node_port) == (ip, port)
    assert after["a"].cluster_ip != ip
    assert after["a"].ports[0].node_port != port


def test_a_kept_value_outside_of_a_new_range_is_replaced():
    _, state = given_out(service("a", type="NodePort"), service_cidrs=["10.0.0.0/24"])
    after, _ = given_out(
        service("a", type="NodePort"),
        state=state,
        service_cidrs=["10.1.0.0/24"],
        node_port_range=(20000, 20100),
    )
    assert after["a"].cluster_ip in network("10.1.0.0/24")
    assert 20000 <= after["a"].ports[0].node_port <= 20100


@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_the_order_of_the_input_does_not_matter(rng: random.Random, count: int):
    manifests = [
        service(f"s{i}", type=rng.choice(("ClusterIP", "NodePort")), ipFamilyPolicy="PreferDualStack")
        for i in range(count)
    ]
    options = {"service_cidrs": ["10.96.0.0/26", "fd00:10:96::/122"], "node_port_range": (30000, 30040)}
    first, state = given_out(*manifests, **options)
    rng.shuffle(manifests)
    assert given_out(*manifests, **options) == (first, state)
    assert given_out(*manifests, state=state, **options) == (first, state)
    addresses = [address for spec in first.values() for address in spec.cluster_ips]
    ports = [port.node_port for spec in first.values() for port in spec.ports if port.node_port]
    assert len(set(addresses)) == len(addresses)
    assert len(set(ports)) == len(ports)


# --- the state file ---


def test_the_state_survives_its_file(tmp_path):
    path = str(tmp_path / "state.json")
    _, state = given_out(service(type="LoadBalancer", externalTrafficPolicy="Local"))
    assert AllocationState.load(path) == AllocationState()
    state.save(path)
    assert AllocationState.load(path) == state
    state.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"version": 2}',
        '{"version": "1"}',
        '{"version": 1, "other": 1}',
        '{"version": 1, "clusterIPs": {"a/b": ["x"]}}',
        '{"version": 1, "generatedNames": {"a/b-": ["b; reboot"]}}',
        '{"version": 1, "nodePorts": {"a/b//TCP": 0}}',
        '{"version": 1, "nodePorts": {"a/b//TCP": "30000"}}',
        "\xff",
    ],
)
def test_a_damaged_state_is_refused_and_named(text, tmp_path):
    path = tmp_path / "state.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"state\.json") as caught:
        AllocationState.load(str(path))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == text.encode("latin-1")


def test_a_state_that_can_not_be_read_or_written(tmp_path):
    with pytest.raises(ConfigError, match="can't read"):
        AllocationState.load(str(tmp_path))
    with pytest.raises(KernelError, match="can't be written"):
        AllocationState().save(str(tmp_path / "missing" / "state.json"))
    with pytest.raises(KernelError, match="can't be written"):
        AllocationState().save(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def unnamed(base: str = "web-", **spec):
    manifest = service(**spec)
    manifest["metadata"] = {"generateName": base, "namespace": "demo"}
    return manifest


def test_services_without_a_name_get_one_that_stays():
    first, state = given_out(unnamed(), unnamed(), unnamed("api-"), service())
    assert all(re.fullmatch(r"(web|api)-[a-z0-9]{5}|web", name) for name in first)
    assert len(first) == 4
    assert list(state.generated_names) == ["demo/web-", "demo/api-"]
    again, same = given_out(unnamed(), unnamed(), unnamed("api-"), service(), state=state)
    assert (list(again), same) == (list(first), state)
    fewer, _ = given_out(service(), unnamed("api-"), unnamed(), state=state)
    assert set(fewer) <= set(first)


def test_a_name_of_the_state_comes_before_a_new_one():
    """As it would be after a change of how names are made: Services keep theirs, and so their addresses."""
    before = AllocationState(
        generated_names={"demo/web-": ["web-abcde"]}, cluster_ips={"demo/web-abcde": ["10.96.7.7"]}
    )
    specs, after = given_out(unnamed(), state=before)
    assert specs["web-abcde"].cluster_ip == "10.96.7.7"
    assert after.generated_names == before.generated_names
    specs, after = given_out(unnamed(), service("web-abcde"), state=before)  # which somebody else has now
    assert len(specs) == 2
    assert after.generated_names["demo/web-"] != ["web-abcde"]


def test_a_generated_name_is_one_that_the_api_takes():
    (name,) = given_out(unnamed("w" * 70))[0]
    assert len(name) == 63
    assert given_out(unnamed("1-"))[0]
