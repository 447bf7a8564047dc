"""The flowtable of --fast-path: lowered, written as nft's text, read back from a listing; its settings."""

import pytest

from kcompile.engine.compile import Seen, node_and_settings
from kcompile.engine.request import Request
from kcompile.errors import ConfigError
from kcompile.ir.model import Dataplane
from kcompile.ir.node import Compat, DetectMode, Detector, Link, NodeFacts, Settings
from kcompile.modes import mode_of
from kcompile.program import apply_changes, diff
from kcompile.spec.config import Config, load_config
from kcompile.spec.settings import settings
from kcompile.targets.flowtable import (
    Flowtable,
    FlowtableDeviceKey,
    FlowtableKey,
    chosen,
    describe,
    lower_flowtable,
    parse,
    render,
)
from kcompile.targets.node import is_flowtable, is_node_resource, lower_node

CIDRS = Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16", "fd00:10:244::/56")
FLOWS = "meta l4proto { tcp, udp } ct state established"


def lowered(*patterns, detector=CIDRS, mode=""):
    own = Settings(compat=Compat.of("nftables"), detector=detector, flowtable=patterns)
    return lower_flowtable(Dataplane(NodeFacts(), own, ()), mode)


def with_devices(program, *names):
    return {FlowtableKey(): program[FlowtableKey()], **{FlowtableDeviceKey(name): "" for name in names}}


def rules(program):
    return [rule.text for rule in program[FlowtableKey()].rules]


def test_it_is_off_unless_asked_for():
    assert lowered() == {}


def test_connections_of_services_and_pods_are_put_in():
    program = lowered("*")
    assert rules(program) == [
        f"{FLOWS} ct status dnat flow add @flows",
        f"{FLOWS} ip saddr 10.244.0.0/16 flow add @flows",
        f"{FLOWS} ip daddr 10.244.0.0/16 flow add @flows",
        f"{FLOWS} ip6 saddr fd00:10:244::/56 flow add @flows",
        f"{FLOWS} ip6 daddr fd00:10:244::/56 flow add @flows",
    ]
    assert FlowtableDeviceKey("*") in program
    assert rules(lowered("*", detector=Detector())) == [f"{FLOWS} ct status dnat flow add @flows"]


def test_pods_may_be_known_by_their_interface():
    bridge = Detector(DetectMode.BRIDGE_INTERFACE, interface="cni0")
    prefix = Detector(DetectMode.INTERFACE_NAME_PREFIX, interface="veth")
    assert rules(lowered("*", detector=bridge))[1:] == [
        f'{FLOWS} iifname "cni0" flow add @flows',
        f'{FLOWS} oifname "cni0" flow add @flows',
    ]
    assert rules(lowered("*", detector=prefix))[1] == f'{FLOWS} iifname "veth*" flow add @flows'


def test_beside_ipvs_only_what_it_never_translates():
    assert rules(lowered("*", mode="ipvs")) == [
        f"{FLOWS} ct original ip daddr 10.244.0.0/16 flow add @flows",
        f"{FLOWS} ct original ip6 daddr fd00:10:244::/56 flow add @flows",
    ]


def test_interfaces_that_packets_are_routed_from():
    links = (
        Link(name="lo", loopback=True),
        Link(name="eth0", addresses=("192.0.2.10",)),
        Link(name="eth1", upper="bond"),
        Link(name="bond0", kind="bond"),
        Link(name="veth1", kind="veth", upper="bridge"),
        Link(name="veth2", kind="veth", upper="vrf"),
        Link(name="cni0", kind="bridge"),
        Link(name="wg0", kind="wireguard", ethernet=False, bare=True),
        Link(name="kcompile-ipvs0", kind="dummy"),
    )
    assert chosen(links, ["*"]) == ["eth0", "bond0", "veth2", "cni0", "wg0"]
    assert chosen(links, ["eth*", "cni0", "nothing"]) == ["eth0", "cni0"]


def test_all_of_it_is_one_transaction():
    program = with_devices(lowered("*", detector=Detector()), "eth0", "cni0")
    comment = program[FlowtableKey()].rules[0].comment
    assert render(diff({}, program), ["eth0", "cni0"]) == (
        "add table inet kcompile-fast\n"
        "add flowtable inet kcompile-fast flows "
        '{ hook ingress priority 0; devices = { "eth0", "cni0" }; }\n'
        "add chain inet kcompile-fast forward { type filter hook forward priority 100; }\n"
        f'add rule inet kcompile-fast forward {FLOWS} ct status dnat flow add @flows comment "{comment}"\n'
    )
    assert render(diff(program, {}), []) == "delete table inet kcompile-fast\n"
    assert render((), []) == ""


def test_an_interface_comes_and_goes_without_the_rest():
    before = with_devices(lowered("*"), "eth0", "veth1")
    after = with_devices(lowered("*"), "eth0", "veth2")
    assert render(diff(before, after), ["eth0", "veth2"]) == (
        'delete flowtable inet kcompile-fast flows { hook ingress priority 0; devices = { "veth1" }; }\n'
        'add flowtable inet kcompile-fast flows { hook ingress priority 0; devices = { "veth2" }; }\n'
    )


def listing(program, *devices):
    """What nft 1.0.6 lists of `program`."""
    own = {"family": "inet", "table": "kcompile-fast"}
    dev = {"dev": devices[0] if len(devices) == 1 else list(devices)} if devices else {}
    yield "table", {"family": "inet", "name": "kcompile-fast", "handle": 6}
    yield "flowtable", {**own, "name": "flows", "handle": 2, "hook": "ingress", "prio": 0, **dev}
    chain = {"type": "filter", "hook": "forward", "prio": 100, "policy": "accept"}
    yield "chain", {**own, "name": "forward", "handle": 1, **chain}
    for rule in program[FlowtableKey()].rules:
        yield "rule", {**own, "chain": "forward", "handle": 4, "comment": rule.comment, "expr": []}


@pytest.mark.parametrize("devices", [(), ("eth0",), ("eth0", "cni0")])
def test_a_listing_is_read_back(devices):
    program = lowered("*")
    assert parse(listing(program, *devices), ()) == with_devices(program, *devices)


def changed(objects, which, **fields):
    return [(kind, body | fields if kind == which else body) for kind, body in objects]


FOREIGN = {
    "dormant": (lambda objects: objects, ("dormant",)),
    "an object": (lambda objects: [*objects, ("counter", {"name": "c"})], ()),
    "a rule elsewhere": (lambda objects: [*objects, ("rule", {"chain": "other"})], ()),
    "another rule": (lambda objects: [*objects, ("rule", {"chain": "forward", "comment": "x"})], ()),
    "fewer rules": (lambda objects: objects[:-1], ()),
    "another hook": (lambda objects: changed(objects, "chain", prio=0), ()),
    "a policy": (lambda objects: changed(objects, "chain", policy="drop"), ()),
    "offload": (lambda objects: changed(objects, "flowtable", flags="offload"), ()),
    "another priority": (lambda objects: changed(objects, "flowtable", prio=5), ()),
    "no flowtable": (lambda objects: [each for each in objects if each[0] != "flowtable"], ()),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_have_changed_is_replaced(name):
    change, flags = FOREIGN[name]
    program = with_devices(lowered("*"), "eth0")
    found = parse(change(list(listing(program, "eth0"))), flags)
    changes = diff(found, program)
    assert apply_changes(found, changes) == program
    text = render(changes, ["eth0"])
    assert text.startswith("delete table inet kcompile-fast\nadd table inet kcompile-fast\n")
    assert '"eth0"' in text


def test_it_is_a_resource_of_the_node_with_a_line_of_its_own():
    own = Settings(compat=Compat.of("nftables"), detector=CIDRS, flowtable=("eth*",))
    program = lower_node(Dataplane(NodeFacts(), own, ()))
    assert all(is_flowtable(key) and is_node_resource(key) for key in program)
    lines = [describe(key, value) for key, value in program.items()]
    assert lines[0].startswith(f"flowtable inet kcompile-fast: {FLOWS} ct status dnat flow add @flows; ")
    assert lines[1] == "flowtable device eth*"
    assert describe(FlowtableKey(), Flowtable((), ("dormant",))).endswith("(and dormant)")


def test_settings():
    assert settings(Config()).flowtable == ()
    assert settings(Config(fast_path="off")).flowtable == ()
    assert settings(Config(fast_path="flowtable")).flowtable == ("*",)
    some = Config(fast_path="flowtable", fast_path_devices=("eth0", "veth*"))
    assert settings(some, mode="ipvs").flowtable == ("eth0", "veth*")


@pytest.mark.parametrize(
    ("config", "mode", "message"),
    [
        (Config(fast_path="flowtable"), "xdp", "packets of mode xdp"),
        (Config(fast_path="flowtable"), "ipvs", "needs --pod-cidr"),
        (Config(fast_path_devices=("eth0",)), "nftables", "needs --fast-path flowtable"),
        (Config(fast_path="flowtable", fast_path_devices=("a/b",)), "ipvs", "can't be the name"),
        (Config(fast_path="flowtable", fast_path_devices=('a"; x',)), "ipvs", "can't be the name"),
    ],
)
def test_settings_that_can_not_be(config, mode, message):
    with pytest.raises(ConfigError, match=message):
        node_and_settings(config, None, (), Request(), mode_of(mode), Seen())


def test_a_configuration_may_ask_for_it(tmp_path):
    file = tmp_path / "config.yaml"
    head = "apiVersion: kcompile.dev/v1alpha1\nkind: CompilerConfiguration\n"
    file.write_text(f"{head}fastPath: flowtable\nfastPathDevices: [eth0, 'veth*']\n")
    config = load_config(str(file))
    assert (config.fast_path, config.fast_path_devices) == ("flowtable", ("eth0", "veth*"))
    file.write_text(f"{head}fastPath: quick\n")
    with pytest.raises(ConfigError, match='fastPath: "quick" is not one of flowtable, off'):
        load_config(str(file))
