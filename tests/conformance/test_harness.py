"""The harness about itself: with no rules, and with hand-written ones, it must see what is there and complain
of what isn't.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from harness import netns
from harness.handmade import BOTH, HOST, OUTSIDE, POD, REMOTE_POD, VIP, case, flow, judge, nat
from harness.lab import Lab
from harness.listeners import sctp_sockets
from harness.packets import Packet, parse, sctp_answer, sctp_init, sctp_reply, split, transport
from harness.verdicts import check_flows, tries

pytestmark = pytest.mark.kernel

TO_BOTH = "map { 0 : 10.244.0.21 . 8080, 1 : 10.244.1.31 . 8080 }"
SPREAD = (
    f"ip daddr {VIP} meta l4proto {{ tcp, udp, sctp }} th dport 80 dnat ip to numgen random mod 2 {TO_BOTH}"
)


# --- no rules ---


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


# --- verdicts ---

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
    chain = "type filter hook forward priority 0; tcp dport 80 reject with tcp reset"
    table = f"table inet hand {{ chain f {{ {chain}\n}}\n}}"
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


# --- repetition ---

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


# --- HTTP ---


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


# --- packets ---


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
