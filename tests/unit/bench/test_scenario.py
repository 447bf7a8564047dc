"""The matrix: every cell is there, has something to be compared with, and leads somewhere that exists."""

import json

import pytest

from kcompile.errors import InputError
from kcompile_bench.generate import Scale
from kcompile_bench.kit.cluster import ADDRESSES, DETOUR, Site, target_of
from kcompile_bench.kit.control import group_of
from kcompile_bench.kit.measures import KINDS
from kcompile_bench.kit.profiles import PROFILES, narrowed, profile
from kcompile_bench.kit.scenario import BASELINES, CONNTRACK, MODES, PATHS, POSITIONS, Condition, Group
from kcompile_bench.kit.specs import linear_rules, linear_without, pods_of, spec_text

PLANS = [profile(name) for name in PROFILES]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.profile)
def test_a_profile_names_what_there_is(plan):
    assert set(plan.modes) == set(MODES)
    for measure in plan.measures:
        assert measure.kind in KINDS
        assert set(measure.paths) <= set(PATHS)
        assert set(measure.positions) <= set(POSITIONS)
        assert measure.rounds >= 20
    titles = [measure.title for measure in plan.measures]
    assert len(set(titles)) == len(titles)
    names = [stage.name for group in plan.each_group() for stage in plan.stages(group)]
    assert len(set(names)) == len(names)


def test_the_standard_matrix_is_whole():
    plan = profile("standard")
    assert {1, 100, 1000, 10_000} <= {services for services, _ in plan.groups}
    assert len({endpoints for _, endpoints in plan.groups}) > 2
    conditions = {c for group in plan.each_group() for stage in plan.stages(group) for c in stage.conditions}
    for mode in MODES:
        for path in PATHS.values():
            wanted = [""] if path.direct else POSITIONS if mode != CONNTRACK else []
            assert {Condition(mode, path.name, position) for position in wanted} <= conditions
    assert {True, False} == {m.keepalive for m in plan.measures if m.kind == "rate"}


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.profile)
def test_every_condition_has_its_baseline_beside_it(plan):
    for stage in (stage for group in plan.each_group() for stage in plan.stages(group)):
        pods = pods_of(stage.group)
        assert len(set(stage.conditions)) == len(stage.conditions)
        # A/A pairs: with fewer the floor is too wide to claim anything
        assert sum(c.mode in BASELINES[1:] for c in stage.conditions) >= 2
        for condition in stage.conditions:
            assert condition.base in stage.conditions
            assert Condition.parse(str(condition)) == condition
            assert PATHS[condition.path].direct or condition.mode not in (*BASELINES, CONNTRACK)
            assert target_of(condition, stage.group).source in (*ADDRESSES.values(), DETOUR, *pods)


def test_a_hairpin_comes_back_to_where_it_was_sent_from():
    for group, there in ((Group(1000, 1), True), (Group(1000, 2), False)):
        stages = [s for s in profile("standard").stages(group) if s.measure.kind == "connect"]
        found = [c for s in stages for c in s.conditions if c.path == "hairpin"]
        assert bool(found) is there
        for condition in found:
            assert target_of(condition, group).source in Scale(*group).pods(
                {"first": 0, "middle": 500, "last": 999}[condition.position]
            )


def test_modes_that_are_not_there_are_left_out_of_stages():
    for stage in profile("quick").stages(Group(1000, 2), ["nftables"]):
        assert {c.mode for c in stage.conditions} == {*BASELINES, "nftables"}


def test_a_plan_can_be_narrowed():
    plan = narrowed(profile("standard"), modes=("nftables",), services=(100,), kinds=("connect",), rounds=3)
    assert plan.modes == ("nftables",)
    assert plan.groups == ((100, 2),)
    assert [(m.kind, m.rounds) for m in plan.measures] == [("connect", 3)]
    assert plan.control_services == ()


def test_services_have_no_more_endpoints_than_the_place_has_servers():
    plan = narrowed(profile("standard"), endpoints=1, paths=("pod-direct", "pod-clusterip"))
    assert plan.groups == ((1, 1), (100, 1), (1000, 1), (10_000, 1))
    assert {path for measure in plan.measures for path in measure.paths} == {"pod-direct", "pod-clusterip"}
    assert narrowed(profile("standard"), endpoints=2).groups == (
        (1, 2),
        (100, 2),
        (1000, 2),
        (10_000, 2),
        (1000, 1),
    )
    one, several = Site(servers=("10.0.0.1",)), Site(servers=("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    assert [group_of(100, site) for site in (one, several, Site())] == [Group(100, n) for n in (1, 2, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": ("iptable",)}, "'iptable' is not one of conntrack, linear"),
        ({"kinds": ("latency",)}, "'latency' is not one of connect"),
        ({"services": (7,)}, "no group of 7 Services"),
    ],
)
def test_a_wrong_name_is_said_so(options: dict, message: str):
    with pytest.raises(InputError, match=message):
        narrowed(profile("quick"), **options)


@pytest.mark.parametrize("group", [Group(1, 2), Group(100, 1), Group(1000, 2)])
def test_specs_hold_what_is_asked_for(group: Group):
    items = json.loads(spec_text(group))["items"]
    services = {i["spec"]["clusterIP"]: i["spec"] for i in items if i["kind"] == "Service"}
    slices = [i for i in items if i["kind"] == "EndpointSlice"]
    assert len(services) == len(slices) == group.services
    for position in POSITIONS if group.services > 1 else ("last",):
        vip = target_of(Condition("nftables", "pod-clusterip", position), group)
        port = target_of(Condition("nftables", "outside-nodeport-far", position), group)
        assert services[vip.address]["type"] == "NodePort"
        assert {p["nodePort"] for p in services[vip.address]["ports"]} == {port.port}
        assert {p["protocol"] for p in services[vip.address]["ports"]} == {"TCP", "UDP"}
        assert port.address == ADDRESSES["node-b"]
    ports = [
        p["nodePort"]
        for s in services.values()
        for p in s["ports"]
        if "nodePort" in p and p["protocol"] == "TCP"
    ]
    assert len(set(ports)) == len(ports)


def test_an_endpoint_can_go():
    group = Group(100, 2)
    pod = Scale(*group).pods(99)[-1]
    before, after = spec_text(group).decode(), spec_text(group, without=pod).decode()
    assert f'"{pod}"' in before
    assert f'"{pod}"' not in after
    assert f"{pod}:8080" in linear_rules(group)
    change = linear_without(group, pod)
    assert f"{pod}:8080" not in change
    assert "-X KUBE-SEP-" in change
