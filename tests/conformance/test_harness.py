"""The harness about itself: with no rules, and with hand-written ones, it must see what is there and complain
of what isn't.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import netns
from harness.command import Kcompile, configuration, node_object, ours
from harness.flowcase import CaseError, FlowCase, Node, load
from harness.lab import Lab
from harness.listeners import sctp_sockets
from harness.packets import Packet, parse, sctp_answer, sctp_init, sctp_reply, split, transport
from harness.topology import Topology
from harness.verdicts import check_flows, tries

pytestmark = pytest.mark.kernel

NODE = {
    "name": "node-a",
    "ips": ["192.0.2.10", "2001:db8:1::10"],
    "zone": "zone-a",
    "podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"],
}
ENDPOINTS = [("10.244.0.21", "node-a"), ("10.244.1.31", "node-b")]
BOTH = ["10.244.0.21:8080", "10.244.1.31:8080"]
POD, REMOTE_POD, OUTSIDE, HOST = "10.244.0.5", "10.244.1.5", "203.0.113.7", "192.0.2.10"
VIP = "10.96.0.20"


def flow(verdict: str, src: str = POD, dst: str = VIP, dport: int = 80, **keys: Any) -> dict[str, Any]:
    """A flow; backends, masq and sticky go to its expectation, other keys stay."""
    expect = {"verdict": verdict} | {
        key: keys.pop(key) for key in ("backends", "masq", "sticky") if key in keys
    }
    return {"src": src, "dst": dst, "dport": dport, "expect": expect, **keys}


def case(
    tmp_path: Path, *flows: dict[str, Any], endpoints: list[tuple[str, str]] | None = None, **config: Any
) -> FlowCase:
    pairs = ENDPOINTS if endpoints is None else endpoints
    slices = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"web-{number}", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv6" if ":" in ip else "IPv4",
            "endpoints": [{"addresses": [ip], "nodeName": node}],
            "ports": [{"port": 8080, "protocol": proto} for proto in ("TCP", "UDP", "SCTP")],
        }
        for number, (ip, node) in enumerate(pairs)
    ]
    file = tmp_path / "case.yaml"
    file.write_text(
        yaml.safe_dump(
            {"name": "self", "node": NODE, "config": config, "manifests": slices, "flows": list(flows)}
        )
    )
    return load(file)


def judge(wanted: FlowCase, rules: str = "", patience: float = 4.0) -> list[str]:
    with Lab(wanted) as lab:
        netns.run(lab.topology.node, ["nft", "-f", "-"], text=rules)
        return check_flows(lab, wanted, "nftables", patience)


def nat(*rules: str, local: bool = True) -> str:
    """Rules of the nat table for forwarded and (`local`) the node's own packets; `masquerade` on mark 1."""
    chains = [("prerouting", "dstnat"), *([("output", "-100")] if local else [])]
    body = "".join(
        f"chain {hook} {{ type nat hook {hook} priority {priority};\n{chr(10).join(rules)}\n}}\n"
        for hook, priority in chains
    )
    return f"table inet hand {{\n{body}chain post {{ type nat hook postrouting priority srcnat;\nmeta mark 1 masquerade fully-random\n}}\n}}"


TO_BOTH = "map { 0 : 10.244.0.21 . 8080, 1 : 10.244.1.31 . 8080 }"
SPREAD = (
    f"ip daddr {VIP} meta l4proto {{ tcp, udp, sctp }} th dport 80 dnat ip to numgen random mod 2 {TO_BOTH}"
)


# --- no rules
# ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proto", ["TCP", "UDP", "SCTP"])
def test_without_rules_everything_arrives_untouched(tmp_path: Path, proto: str):
    four = [
        flow("accept", src, dst, proto=proto)
        for src in (POD, REMOTE_POD, OUTSIDE, HOST)
        for dst in (VIP, HOST, "10.244.0.21", "10.244.1.31")
    ]
    six = [
        flow("accept", src, dst, proto=proto)
        for src in ("fd00:10:244::5", "fd00:10:244:1::5", "2001:db8:ffff::7", "2001:db8:1::10")
        for dst in ("fd00:10:96::20", "2001:db8:1::10", "fd00:10:244::21")
    ]
    loopback = [
        flow("accept", "127.0.0.1", "127.0.0.1", 30080, proto=proto),
        flow("accept", "::1", "::1", 30080, proto=proto),
    ]
    assert judge(case(tmp_path, *four, *six, *loopback)) == []


def test_without_rules_nothing_else_is_seen(tmp_path: Path):
    wrong = [
        flow("drop"),
        flow("reject"),
        flow("dnat", backends=BOTH),
        flow("reject", dst=HOST),
        flow("drop", proto="UDP", dst=HOST),
    ]
    failures = judge(case(tmp_path, *wrong))
    assert len(failures) == len(wrong)
    assert "was answered by 10.96.0.20:80, which saw 10.244.0.5" in failures[0]


# --- verdicts
# ------------------------------------------------------------------------------------------------------

SOURCES = [POD, OUTSIDE, HOST]


@pytest.mark.parametrize("proto", ["TCP", "UDP", "SCTP"])
@pytest.mark.parametrize(
    ("rule", "verdict"), [("drop", "drop"), ("reject with icmpx port-unreachable", "reject")]
)
def test_drop_and_reject_are_told_apart(tmp_path: Path, proto: str, rule: str, verdict: str):
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; th dport {{ 80, 30080 }} {rule}; }}\n"
        for hook in ("input", "forward", "output")
    )
    table = f"table inet hand {{\n{chains}}}"
    six = [
        ("fd00:10:244::5", "fd00:10:96::20", 80),
        ("2001:db8:1::10", "fd00:10:96::20", 80),
        ("2001:db8:ffff::7", "2001:db8:1::10", 30080),
    ]
    places = [(src, dst, port) for src in SOURCES for dst, port in ((VIP, 80), (HOST, 30080))] + six
    assert judge(case(tmp_path, *(flow(verdict, *place, proto=proto) for place in places)), table) == []
    for other in {"drop", "reject", "accept"} - {verdict}:
        assert len(judge(case(tmp_path, flow(other, proto=proto)), table, patience=0.5)) == 1


def test_a_reset_is_no_reject(tmp_path: Path):
    table = "table inet hand { chain f { type filter hook forward priority 0; tcp dport 80 reject with tcp reset\n}\n}"
    (failure,) = judge(case(tmp_path, flow("reject")), table)
    assert "was refused (Connection refused), arrived: nowhere" in failure


@pytest.mark.parametrize("proto", ["TCP", "UDP", "SCTP"])
def test_a_port_without_a_listener_is_neither_dropped_nor_rejected(tmp_path: Path, proto: str):
    rules = nat(f"ip daddr {VIP} dnat to 10.244.0.21")
    for verdict in ("drop", "reject"):
        (failure,) = judge(case(tmp_path, flow(verdict, proto=proto)), rules, patience=0.5)
        assert "10.244.0.21:80 at pod 10.244.0.21" in failure


@pytest.mark.parametrize("proto", ["TCP", "UDP", "SCTP"])
def test_dnat_reaches_all_backends_and_keeps_the_source(tmp_path: Path, proto: str):
    flows = [flow("dnat", src, backends=BOTH, masq=False, proto=proto) for src in (POD, REMOTE_POD, OUTSIDE)]
    assert judge(case(tmp_path, *flows, flow("accept", dport=81, proto=proto)), nat(SPREAD)) == []


def test_dnat_over_ipv6(tmp_path: Path):
    where = "numgen random mod 2 map { 0 : fd00:10:244::21 . 8080, 1 : fd00:10:244:1::31 . 8080 }"
    rules = nat(f"ip6 daddr fd00:10:96::20 meta l4proto {{ tcp, udp, sctp }} th dport 80 dnat ip6 to {where}")
    backends = ["[fd00:10:244:0::21]:8080", "[fd00:10:244:1::31]:8080"]
    flows = [
        flow("dnat", src, "fd00:10:96::20", backends=backends, masq=False, proto=proto)
        for src in ("fd00:10:244::5", "2001:db8:ffff::7", "2001:db8:1::10")
        for proto in ("TCP", "UDP", "SCTP")
    ]
    endpoints = [("fd00:10:244::21", "node-a"), ("fd00:10:244:1::31", "node-b")]
    assert judge(case(tmp_path, *flows, endpoints=endpoints), rules) == []


@pytest.mark.parametrize("src", [POD, OUTSIDE])
def test_masquerade_is_seen(tmp_path: Path, src: str):
    marked = nat("ip daddr 10.96.0.0/16 meta mark set 1", SPREAD)
    assert judge(case(tmp_path, flow("dnat", src, backends=BOTH, masq=True)), marked) == []
    (failure,) = judge(case(tmp_path, flow("dnat", src, backends=BOTH, masq=False)), marked)
    assert f"saw the source 192.0.2.10 instead of {src}" in failure
    (failure,) = judge(case(tmp_path, flow("dnat", src, backends=BOTH, masq=True)), nat(SPREAD))
    assert f"saw the source {src}, not one of the node's addresses" in failure


def test_a_masqueraded_packet_is_not_accepted_as_untouched(tmp_path: Path):
    (failure,) = judge(
        case(tmp_path, flow("accept", dst="10.96.0.21")), nat("ip daddr 10.96.0.21 meta mark set 1")
    )
    assert "arrived with the source 192.0.2.10" in failure


def test_a_missing_and_a_surplus_backend_are_seen(tmp_path: Path):
    one = nat(f"ip daddr {VIP} tcp dport 80 dnat to 10.244.0.21:8080")
    (failure,) = judge(case(tmp_path, flow("dnat", backends=BOTH)), one)
    assert "none of 25 connections went to 10.244.1.31:8080" in failure
    (failure,) = judge(case(tmp_path, flow("dnat", backends=BOTH[:1])), nat(SPREAD))
    assert "was answered by 10.244.1.31:8080" in failure


@pytest.mark.parametrize("bridge", ["", "cbr0"])
@pytest.mark.parametrize("proto", ["TCP", "UDP", "SCTP"])
def test_hairpin(tmp_path: Path, bridge: str, proto: str):
    rules = nat(
        f"ip saddr 10.244.0.21 ip daddr {VIP} meta mark set 1",
        f"ip daddr {VIP} th dport 80 dnat to 10.244.0.21:8080",
    )
    flows = [
        flow("dnat", "10.244.0.21", backends=BOTH[:1], masq=True, proto=proto),
        flow("dnat", backends=BOTH[:1], masq=False, proto=proto),
    ]
    detector = {"mode": "BridgeInterface", "bridgeInterface": bridge} if bridge else {"mode": "None"}
    assert (
        judge(
            case(tmp_path, *flows, detectLocal=detector),
            rules.replace("th dport 80", f"meta l4proto {proto.lower()} th dport 80"),
        )
        == []
    )


def test_the_input_interface_is_what_the_case_says(tmp_path: Path):
    where = [
        "iifname pod* ip daddr 10.96.0.20 tcp dport 80 dnat to 10.244.0.21:8080",
        "ip daddr 10.96.0.20 tcp dport 80 dnat to 10.244.1.31:8080",
    ]
    flows = [
        flow("dnat", POD, backends=BOTH[:1]),
        flow("dnat", OUTSIDE, backends=BOTH[1:]),
        flow("dnat", "10.244.7.7", iif="pod0", backends=BOTH[:1]),
        flow("dnat", "10.244.0.9", iif="eth0", backends=BOTH[1:]),
    ]
    assert judge(case(tmp_path, *flows), nat(*(rule.replace("pod*", '"pod*"') for rule in where))) == []


# --- repetition
# ----------------------------------------------------------------------------------------------------

STICKY = f"ip daddr {VIP} tcp dport 80 dnat ip to jhash ip saddr mod 2 {TO_BOTH}"


def test_sticky(tmp_path: Path):
    flows = [flow("dnat", src, backends=BOTH, sticky=True, repeat=8) for src in (POD, OUTSIDE)]
    assert judge(case(tmp_path, *flows), nat(STICKY)) == []
    failures = judge(case(tmp_path, *flows), nat(SPREAD))
    assert len(failures) == 2
    assert "connections went to 10.244.0.21:8080 (" in failures[0]


def test_a_sticky_group_has_one_backend(tmp_path: Path):
    fixed = [f"ip daddr 10.96.0.2{n} tcp dport 80 dnat to {backend}" for n, backend in enumerate(BOTH)]
    flows = [flow("dnat", dst=f"10.96.0.2{n}", backends=BOTH, sticky="shop") for n in range(2)]
    (failure,) = judge(case(tmp_path, *flows), nat(*fixed))
    assert "the group shop sticks to 10.244.0.21:8080" in failure


def test_a_fixed_source_port_can_be_used_again(tmp_path: Path):
    assert (
        judge(
            case(
                tmp_path, *(flow("dnat", backends=BOTH, sport=4000, proto=proto) for proto in ("TCP", "UDP"))
            ),
            nat(SPREAD),
        )
        == []
    )


@pytest.mark.parametrize("backends", [2, 3, 10])
def test_enough_tries(backends: int):
    count = tries(backends)
    assert backends * (1 - 1 / backends) ** count < 1e-7 < backends * (1 - 1 / backends) ** (count - 2)


# --- HTTP
# ----------------------------------------------------------------------------------------------------------


def test_http(tmp_path: Path):
    wanted = case(
        tmp_path,
        *(
            flow("accept", OUTSIDE, HOST, 30940, http={"path": "/", "status": status})
            for status in (200, 503)
        ),
    )
    with Lab(wanted) as lab:
        with netns.enter(lab.topology.node):
            command = [sys.executable, "-m", "http.server", "30940", "--directory", str(tmp_path)]
            server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            (failure,) = check_flows(lab, wanted, "nftables")
        finally:
            server.kill()
            server.wait()
    assert "expected HTTP 503 for /; HTTP 200" in failure


# --- case files
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sticki": True}, "flow 1: unknown key sticki"),
        ({"expect": {"verdict": "drop", "how": 1}}, "flow 1: expect: unknown key how"),
        ({"http": {"path": "/", "body": "x"}}, "flow 1: http: unknown key body"),
        ({"expect": {"verdict": "maybe"}}, "'maybe' is not a valid Verdict"),
        ({"expect": {"verdict": "dnat"}}, "dnat needs some"),
        ({"expect": {"verdict": "dnat", "backends": ["10.0.0.1"]}}, "isn't ADDRESS:PORT"),
        ({"proto": "ICMP"}, "unknown protocol ICMP"),
        ({"src": "::1"}, "two families"),
        ({"src": "pod"}, "does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_what_a_case_may_not_say(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(CaseError, match=message):
        case(tmp_path, flow("drop") | change)


def test_what_a_case_may_say(tmp_path: Path):
    wanted = case(tmp_path, flow("drop", src=[POD, HOST], dport=["80", 81], proto=["tcp", "UDP"]))
    assert len(wanted.flows) == 8
    assert {str(item) for item in wanted.flows} >= {
        "TCP 10.244.0.5 -> 10.96.0.20:80",
        "UDP 192.0.2.10 -> 10.96.0.20:81",
    }
    by_mode = {"iptables": {"verdict": "accept"}, "iptables-nft": {"verdict": "reject"}}
    (item,) = case(tmp_path, flow("drop", expect_by_mode=by_mode)).flows
    assert [item.expect(mode).verdict.value for mode in ("nftables", "iptables-legacy", "iptables-nft")] == [
        "drop",
        "accept",
        "reject",
    ]


def test_the_node_object():
    made = node_object(Node("a", ("192.0.2.1", "2001:db8::1"), ("10.0.0.0/24", "fd00::/64"), "z"))
    assert made["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z"
    assert [item["address"] for item in made["status"]["addresses"]] == ["192.0.2.1", "2001:db8::1"]
    assert made["spec"]["podCIDRs"] == ["10.0.0.0/24", "fd00::/64"]


def test_the_configuration():
    proxy, own = configuration(
        {
            "detectLocal": {"mode": "ClusterCIDR", "cidrs": ["10.0.0.0/8", "fd00::/16"]},
            "masqueradeAll": True,
            "localhostNodePorts": False,
            "iptables": {"masqueradeBit": 5},
            "nodePortAddresses": ["primary"],
            "nodePortRange": "30000-30100",
            "serviceCIDRs": ["10.96.0.0/12"],
            "somethingElse": 1,
        }
    )
    assert proxy == {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "detectLocalMode": "ClusterCIDR",
        "clusterCIDR": "10.0.0.0/8,fd00::/16",
        "nodePortAddresses": ["primary"],
        "iptables": {"masqueradeAll": True, "localhostNodePorts": False, "masqueradeBit": 5},
        "nftables": {"masqueradeAll": True},
        "somethingElse": 1,
    }
    assert (own["kind"], own["nodePortRange"], own["serviceCIDRs"]) == (
        "CompilerConfiguration",
        "30000-30100",
        ["10.96.0.0/12"],
    )
    prefixed, _ = configuration(
        {"detectLocal": {"mode": "InterfaceNamePrefix", "cidrs": [], "interfaceNamePrefix": "pod"}}
    )
    assert (prefixed["detectLocalMode"], prefixed["detectLocal"]) == (
        "InterfaceNamePrefix",
        {"interfaceNamePrefix": "pod"},
    )
    assert "detectLocalMode" not in configuration({"detectLocal": {"mode": "None", "cidrs": []}})[0]


# --- namespaces, packets, leftovers
# --------------------------------------------------------------------------------


def test_no_namespace_is_left_even_after_a_failure(tmp_path: Path):
    names: list[str] = []

    def fail() -> None:
        with Lab(case(tmp_path, flow("accept"))) as lab:
            names.extend([lab.topology.node, lab.topology.world, *lab.topology.pods.values()])
            assert all((netns.RUN / name).exists() for name in names)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(names) == 4
    assert not [name for name in names if (netns.RUN / name).exists()]
    with pytest.raises(RuntimeError), Topology(["192.0.2.10", "192.0.2.10"], [POD]):
        pass
    assert not [
        path for path in netns.RUN.iterdir() if path.name.startswith(f"{netns.PREFIX}-{netns.os.getpid()}-")
    ]


def test_sweep_removes_what_dead_processes_left():
    child = subprocess.Popen(["true"])
    child.wait()
    stale = f"{netns.PREFIX}-{child.pid}-abcd-1-node"
    with netns.group(["node"]) as mine:
        netns.batch([f"netns add {stale}"])
        assert stale in netns.sweep()
        assert (netns.RUN / mine["node"]).exists()


@pytest.mark.parametrize(
    ("ip", "port", "text"), [("10.0.0.1", 80, "10.0.0.1:80"), ("fd00::1", 80, "[fd00:0::1]:80")]
)
def test_addresses(ip: str, port: int, text: str):
    assert split(text) == (ip, port)


def test_sctp_packets():
    init = transport(132, "10.0.0.1", "10.0.0.2", sctp_init(4000, 80))
    assert isinstance(init, Packet)
    assert (init.sport, init.dport, init.opens, sctp_answer(init)) == (4000, 80, True, None)
    reply = transport(132, "10.0.0.2", "10.0.0.1", sctp_reply(init, b"10.0.0.2:80 10.0.0.1\n"))
    assert isinstance(reply, Packet)
    assert (reply.sport, reply.dport, reply.opens, sctp_answer(reply)) == (
        80,
        4000,
        False,
        b"10.0.0.2:80 10.0.0.1\n",
    )
    assert isinstance(sctp_sockets(), bool)
    assert parse(b"") is None


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy", "iptables-nft", "ipvs", "xdp"])
def test_leftovers_are_seen(tmp_path: Path, usable_mode: str):
    with Lab(case(tmp_path, flow("accept"))) as lab:
        node = lab.topology.node
        assert ours(node, usable_mode) == []
        if one := {"nftables": "nft add table ip kcompile", "xdp": "tc qdisc add dev eth0 clsact"}.get(
            usable_mode
        ):
            netns.run(node, one.split())
        elif usable_mode == "ipvs":
            for made in (
                f"ipvsadm -A -t {VIP}:80",
                "ipset create KCOMPILE hash:ip",
                "ip link add kcompile type dummy",
            ):
                netns.run(node, made.split())
            assert len(ours(node, usable_mode)) == 3
        else:
            flavour = usable_mode.removeprefix("iptables-")
            netns.run(node, [f"iptables-{flavour}-restore"], text="*nat\nCOMMIT\n")
            assert ours(node, usable_mode) == []
            netns.run(
                node,
                [f"iptables-{flavour}-restore"],
                text="*nat\n:KCOMPILE-X - [0:0]\n-A PREROUTING -j KCOMPILE-X\nCOMMIT\n",
            )
        assert ours(node, usable_mode)


def test_processes_left_behind_are_found_and_ended(tmp_path: Path):
    with Lab(case(tmp_path, flow("accept"))) as lab:
        kcompile = Kcompile("nftables", lab.topology.node, tmp_path)
        assert kcompile.processes() == []
        with netns.enter(lab.topology.node):
            inside = subprocess.Popen(["sleep", "60"])
        outside = subprocess.Popen(
            ["sleep", "60"], env={"PATH": "/usr/bin:/bin", "KCOMPILE_RUN_DIR": str(tmp_path / "run")}
        )
        try:
            assert kcompile.settle(0.1) == sorted([inside.pid, outside.pid])
        finally:
            kcompile.kill()
            inside.wait()
            outside.wait()
        assert kcompile.processes() == []
