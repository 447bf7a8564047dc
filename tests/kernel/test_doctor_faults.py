"""Faults planted one at a time on a node: doctor names each, and its command removes it."""

import json
import subprocess
import sys
from typing import NamedTuple

import pytest

from harness import modes, netns
from harness.doctor import healthy_node
from kcompile.kernel.doctor import gather, judge

pytestmark = pytest.mark.kernel

MODES = ["nftables", "iptables-legacy", "iptables-nft", "ipvs", "xdp"]
MANIFESTS = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "demo"},
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.96.0.12",
                "ports": [{"port": 80, "nodePort": 30012}],
            },
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1",
                "namespace": "demo",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.244.0.5"]}, {"addresses": ["10.244.0.6"]}],
        },
    ],
}
FIRST = "*filter\n:FORWARD {policy} [0:0]\n{rules}\nCOMMIT\n"
MANGLE = "*mangle\n-A PREROUTING -p udp -j MARK --set-mark 7\nCOMMIT\n"
FOREIGN = "table {family} f {{ chain c {{ type {kind} hook {hook} priority {priority}; {rule}\n}}\n}}\n"


class Fault(NamedTuple):
    """`plant`: a command and its input; `check`: the finding that names it; `says`: what is in its message;
    `remove`: what its command leaves.
    """

    plant: tuple[str, str]
    check: str
    says: str
    remove: str = ""


def nft(**values: str | int) -> tuple[str, str]:
    return "nft -f -", FOREIGN.format(**values)


def filtered(policy: str, rules: str, before: str = "") -> tuple[str, str]:
    return "iptables-nft-restore --noflush", before + FIRST.format(policy=policy, rules=rules)


ESTABLISHED = "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"
NO_FILTER = "nft delete table ip filter"
FAULTS = {
    "1 policy": Fault(filtered("DROP", ESTABLISHED), "packets", "policy drop", NO_FILTER),
    "1 policy, with a mangle rule": Fault(
        filtered("DROP", ESTABLISHED, MANGLE), "forward-policy", "FORWARD policy is DROP",
        NO_FILTER + "; nft delete table ip mangle"
    ),
    "2 reject at the end": Fault(
        filtered("ACCEPT", "-A FORWARD -j REJECT"), "packets", "rejected", NO_FILTER
    ),
    "3 pod CIDR": Fault(
        filtered("ACCEPT", "-A FORWARD -d 10.244.0.0/16 -j DROP"), "packets", "dropped", NO_FILTER
    ),
    "4 inet forward": Fault(
        nft(family="inet", kind="filter", hook="forward", priority=10, rule="reject"),
        "packets", "rejected by a foreign rule in inet f c", "nft delete table inet f"
    ),
    "5 prerouting": Fault(
        nft(family="ip", kind="filter", hook="prerouting", priority=-150, rule="tcp dport 30012 drop"),
        "packets", "dropped by a foreign rule in ip f c", "nft delete table ip f"
    ),
    "6 foreign DNAT": Fault(
        nft(family="ip", kind="nat", hook="prerouting", priority=-150,
            rule="ip daddr 10.96.0.12 dnat to 198.51.100.7"),
        "packets", "goes to 198.51.100.7:80 instead", "nft delete table ip f"
    ),
    "7 rp_filter": Fault(("sysctl -w net.ipv4.conf.all.rp_filter=1", ""), "rp-filter", "strict"),
    "8 ip_forward": Fault(("sysctl -w net.ipv4.ip_forward=0", ""), "forwarding", "forwards no packets"),
    "9 one interface": Fault(
        ("sysctl -w net.ipv4.conf.eth0.forwarding=0", ""), "forwarding-of-interfaces", "eth0"
    ),
    "14 policy of our chain": Fault(
        ("nft add chain ip kcompile prerouting { policy drop; }", ""), "packets", "policy drop"
    ),
    "11 kube-proxy": Fault(("nft add table ip kube-proxy", ""), "kube-proxy-rules", "ip kube-proxy"),
    "16 no route": Fault(
        ("ip route del default", ""), "packets", "no route to 10.244.0.",
        "ip route flush root 10.244.0.0/16; ip route replace default via 192.0.2.1"
    ),
    "13 dormant": Fault(
        ("nft add table ip kcompile { flags dormant; }", ""), "dormant", "ip kcompile is dormant"
    ),
    "15 flushed": Fault(("nft delete table ip kcompile", ""), "packets", "is not translated"),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(request, tmp_path_factory):
    """A node of one mode, with a Service that has two endpoints."""
    if reason := modes.missing(request.param):
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch, healthy_node(tmp_path_factory.mktemp("node")) as made:
        made.manifests.write_text(json.dumps(MANIFESTS))
        for key in ("KCOMPILE_RUN_DIR", "KCOMPILE_STATE_DIR"):
            patch.setenv(key, made.env[key])
        for command in (
            "ip link add eth0 type veth peer name far",
            "ip link set eth0 up",
            "ip link set far up",
            "ip address add 192.0.2.10/24 dev eth0",
            "ip route add default via 192.0.2.1",
        ):
            made.sh(*command.split())
        netns.sysctl(made.name, {"ipv4/conf/*/rp_filter": 0, "ipv4/conf/*/forwarding": 1})
        made.apply("--mode", request.param)
        yield made
        made.kcompile("delete", "--netns", made.name)


def found(node) -> dict[str, list]:
    by_check: dict[str, list] = {}
    for finding in judge(gather([], node.name)).findings:
        if finding.severity != "ok" and finding.check not in ("modes", "flowtable"):
            by_check.setdefault(finding.check, []).append(finding)
    return by_check


def run_fix(node, finding) -> None:
    fix = [command.replace("GATEWAY", "192.0.2.1") for command in finding.fix]
    assert fix, finding
    node.fix({"fix": fix})


def plant_and_fix(node, fault: Fault) -> None:
    before = set(found(node))
    command, text = fault.plant
    node.sh(*command.split(" ", 2 if "{" in command else -1), text=text or None)
    try:
        findings = found(node)
        assert any(fault.says in f.message for f in findings.get(fault.check, ())), findings
        for _ in range(4):  # one command a packet that is lost
            for finding in findings.get(fault.check, ()):
                run_fix(node, finding)
            findings = found(node)
            if fault.check not in findings:
                break
        assert fault.check not in findings
    finally:
        if fault.remove:
            node.sh("sh", "-c", fault.remove)
    assert set(found(node)) <= before


@pytest.mark.parametrize("node", MODES, indirect=True)
def test_nothing_is_found_on_a_healthy_node(node):
    assert found(node) == {}


@pytest.mark.parametrize("node", ["nftables"], indirect=True)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_its_command_removes_it(node, name):
    plant_and_fix(node, FAULTS[name])


@pytest.mark.parametrize("node", ["nftables"], indirect=True)
def test_10_a_process_on_a_node_port_is_named(node):
    """Its command ends it."""
    script = "import socket, time; s = socket.create_server(('', 30012)); print(flush=True); time.sleep(60)"
    command = ["ip", "netns", "exec", node.name, sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            (finding,) = found(node)["node-ports"]
            assert f"(pid {process.pid}) listens on 30012/TCP, the NodePort of demo/web" in finding.message
            assert finding.fix == (f"kill {process.pid}",)
        finally:
            process.kill()
    assert "node-ports" not in found(node)
