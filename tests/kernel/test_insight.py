"""explain, trace and verify over what a kernel holds: kcompile's rules, kube-proxy's, and foreign ones."""

import json
from pathlib import Path

import pytest

from harness import modes, netns
from harness.command import Kcompile
from harness.flowcase import load

pytestmark = pytest.mark.kernel
TESTS = Path(__file__).parents[1]
RULES = TESTS / "kubeproxy/rules"
CASE = "15-etp-local-with-local"
MODES = ["nftables", "iptables-legacy"]


@pytest.fixture
def node():
    """A node of the flow cases: its addresses, and routes to everywhere."""
    with netns.group(["node", "world"]) as names:
        name = names["node"]
        netns.run(
            name, ["ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", names["world"]]
        )
        for command in (
            "ip link set lo up",
            "ip link set eth0 up",
            "ip address add 192.0.2.10/24 dev eth0",
            "ip -6 address add 2001:db8:1::10/64 dev eth0 nodad",
            "ip route add default via 192.0.2.1",
            "ip -6 route add default via 2001:db8:1::1",
        ):
            netns.run(name, command.split())
        netns.sysctl(name, {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
        yield name


class Insight:
    """The three verbs on one case."""

    def __init__(self, node, folder, case, mode):
        if reason := modes.missing(mode):
            pytest.skip(reason)
        self.node, self.mode = node, mode
        self.case = load(TESTS / f"conformance/flowcases/{case}.yaml")
        self.kcompile = Kcompile(mode, node, folder)

    def ask(self, verb, *more, code=0):
        options = [*self.kcompile.write(self.case), "--mode", self.mode, "--netns", self.node, "--live"]
        done = self.kcompile.run(verb, *more, *options, "-o", "json")
        assert done.code == code, done.output
        return json.loads(done.output[done.output.index("{") :])

    def verify(self, *more, code=0):
        return self.ask("verify", *more, code=code)["differences"]


@pytest.mark.parametrize("mode", MODES)
def test_our_rules_by_verify_explain_and_trace(node, tmp_path, mode):
    insight = Insight(node, tmp_path, CASE, mode)
    assert insight.kcompile.apply(insight.case).code == 0
    assert insight.verify() == []
    (explained,) = insight.ask("explain", "demo/el")["items"]
    assert {resource["live"] for resource in explained["resources"]} == {"present"}
    (traced,) = insight.ask("trace", "outside", "192.0.2.10:30040")["items"]
    assert traced["cause"] is None
    assert [(way["destination"], way["masqueraded"]) for way in traced["ways"]] == [
        ("10.244.0.21:8080", False)
    ]

    foreign = "add table inet f; add chain inet f stop { type filter hook forward priority 10; }; "
    netns.run(node, ["nft", "-f", "-"], text=foreign + "add rule inet f stop ip daddr 10.244.0.0/16 drop")
    (traced,) = insight.ask("trace", "outside", "192.0.2.10:30040", code=1)["items"]
    assert traced["cause"]["reason"] == "a rule that isn't kcompile's drops the packet, in inet f stop"
    found = insight.verify(code=1)
    assert {(d["kind"], d["found"]) for d in found} == {("wrong", "drop")}


def test_what_is_missing_wrong_and_stale(node, tmp_path):
    insight = Insight(node, tmp_path, CASE, "nftables")
    assert insight.kcompile.apply(insight.case).code == 0
    script = """
        delete element ip kcompile frontends { 10.96.0.40 . tcp . 80 }
        delete element ip kcompile tcp-node-port-backends { 30040 . 0 }
        add element ip kcompile tcp-node-port-backends { 30040 . 0 : 10.244.0.99 . 8080 }
        add element ip kcompile frontends { 10.96.0.77 . udp . 53 : drop }
    """
    netns.run(node, ["nft", "-f", "-"], text=script)
    found = {(d["kind"], d["frontend"], d["client"]): d["found"] for d in insight.verify(code=1)}
    assert found["wrong", "ClusterIP 10.96.0.40:80/TCP", "outside"] == "reject"
    assert found["wrong", "NodePort 192.0.2.10:30040/TCP", "outside"] == "to 10.244.0.99:8080"
    assert found["stale", "10.96.0.77:53/UDP", ""] == "served"
    assert {frontend for _, frontend, _ in found} == {
        "ClusterIP 10.96.0.40:80/TCP", "NodePort 192.0.2.10:30040/TCP", "10.96.0.77:53/UDP"
    }  # fmt: skip
    (explained,) = insight.ask("explain", "demo/el", code=1)["items"]
    assert {r["live"] for r in explained["resources"]} == {"present", "missing", "different"}


@pytest.mark.parametrize("mode", MODES)
def test_kube_proxys_rules(node, tmp_path, mode):
    """Nothing is wrong with them but what they have beside the case: the API server's own Service."""
    insight = Insight(node, tmp_path, CASE, mode)
    if mode == "nftables":
        netns.run(node, ["nft", "-f", str(RULES / f"{CASE}.nftables.nft")])
    else:
        for version, tool in ((4, "iptables"), (6, "ip6tables")):
            text = (RULES / f"{CASE}.iptables-legacy.ipv{version}.txt").read_text()
            rules = "".join(line for line in text.splitlines(True) if "nfacct" not in line)
            netns.run(node, [f"{tool}-legacy-restore"], text=rules)
    owner = ("--owner", "kube-proxy")
    stale = [(d["kind"], d["frontend"]) for d in insight.verify(*owner, code=1)]
    assert stale == [("stale", "10.96.0.1:443/TCP")]

    if mode == "nftables":
        netns.run(node, ["nft", "delete element ip kube-proxy service-nodeports { tcp . 30040 }"])
    else:
        rules = netns.run(node, ["iptables-legacy-save", "-t", "nat"]).stdout.splitlines()
        (rule,) = [r for r in rules if r.startswith("-A KUBE-NODEPORTS") and "--dport 30040" in r]
        netns.run(node, ["iptables-legacy-restore", "--noflush"], text=f"*nat\n-D{rule[2:]}\nCOMMIT\n")
    found = {(d["kind"], d["frontend"]) for d in insight.verify(*owner, code=1)} - set(stale)
    assert found == {("missing", "NodePort 192.0.2.10:30040/TCP")}
