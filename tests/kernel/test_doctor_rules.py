"""kcompile doctor on a kernel: other programs' rules, and those of another mode."""

import pytest

from harness import modes
from harness.doctor import healthy_node, need

pytestmark = pytest.mark.kernel

KUBE_PROXY = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-ABCDEFGHIJKLMNOP - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A PREROUTING -j ACCEPT
-A KUBE-SERVICES -p tcp -m comment --comment "default/kubernetes:https" -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-ABCDEFGHIJKLMNOP
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
"""
FEW = """\
*filter
:INPUT DROP [0:0]
:MINE - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -j MINE
-A MINE -j ACCEPT
COMMIT
"""
FIREWALL = """\
table inet firewall {
    chain transit { type filter hook forward priority filter; policy drop; ct state established accept; }
}
"""


@pytest.fixture
def node(tmp_path):
    if reason := modes.missing("nftables"):
        pytest.skip(reason)
    with healthy_node(tmp_path) as made:
        yield made


@pytest.mark.parametrize("tool", ["iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"])
def test_rules_of_kube_proxy(node, tool):
    need(tool)
    node.sh(f"{tool}-restore", text=KUBE_PROXY)
    (finding,) = node.findings("kube-proxy-rules")
    assert finding["severity"] == "error"
    node.mend(finding)
    assert node.findings("kube-proxy-rules") == []
    left = node.sh(f"{tool}-save")
    for kept in ("-A PREROUTING -j ACCEPT", ":KUBE-KUBELET-CANARY", "-A INPUT -j KUBE-FIREWALL"):
        assert kept in left
    assert "KUBE-S" not in left
    assert "KUBE-FORWARD" not in left


@pytest.mark.parametrize(
    "make",
    [
        ["nft", "add", "table", "ip", "kube-proxy"],
        ["nft", "add", "table", "ip6", "kube-proxy"],
        ["ip", "link", "add", "kube-ipvs0", "type", "bridge"],
    ],
    ids=["nftables-v4", "nftables-v6", "ipvs"],
)
def test_tables_and_the_device_of_kube_proxy(node, make):
    node.sh(*make)
    (finding,) = node.findings("kube-proxy-rules")
    node.mend(finding)
    assert node.findings("kube-proxy-rules") == []


@pytest.mark.parametrize(
    ("few", "many"), [("iptables-legacy", "iptables-nft"), ("ip6tables-nft", "ip6tables-legacy")]
)
def test_both_variants_of_iptables(node, few, many):
    need(few)
    need(many)
    node.sh(f"{few}-restore", text=FEW)
    node.sh(
        f"{many}-restore",
        text="*nat\n-A PREROUTING -j ACCEPT\n-A OUTPUT -j ACCEPT\n-A POSTROUTING -j ACCEPT\nCOMMIT\n",
    )
    (finding,) = node.findings("iptables-variants")
    assert f"{few} has 2 rules and {many} has 3" in finding["message"]
    node.mend(finding)
    assert node.findings("iptables-variants") == []
    left = [line for line in node.sh(f"{few}-save").splitlines() if not line.startswith(("#", "*", "COMMIT"))]
    assert [line for line in left if " ACCEPT [" not in line] == [
        ":KUBE-FIREWALL - [0:0]",
        "-A INPUT -j KUBE-FIREWALL",
    ]
    moved = node.sh(f"{many}-save")
    assert all(
        line in moved
        for line in ("-A MINE -j ACCEPT", "-A INPUT -j MINE", ":INPUT DROP", "-A PREROUTING -j ACCEPT")
    )
    assert "KUBE-" not in moved


def test_both_variants_of_iptables_with_a_chain_of_one_name(node):
    need("iptables-legacy")
    need("iptables-nft")
    for tool in ("iptables-legacy", "iptables-nft"):
        node.sh(f"{tool}-restore", text=FEW)
    (finding,) = node.findings("iptables-variants")
    assert "filter/MINE in both" in finding["message"]
    assert finding["mend"] == []


@pytest.mark.parametrize("tool", ["iptables-legacy", "iptables-nft", "ip6tables-nft"])
def test_a_policy_that_drops(node, tool):
    need(tool)
    node.sh(tool, "-P", "FORWARD", "DROP")
    (finding,) = node.findings("forward-policy")
    assert finding["severity"] == "warning"
    node.mend(finding)
    assert node.findings("forward-policy") == []
    assert ":FORWARD DROP" in node.sh(f"{tool}-save"), "the firewall is still one"


def test_a_foreign_chain_that_drops(node):
    node.sh("nft", "-f", "-", text=FIREWALL)
    (finding,) = node.findings("forward-policy")
    node.mend(finding)
    assert node.findings("forward-policy") == []
    assert "policy drop" in node.sh("nft", "list", "ruleset")


def test_rules_of_another_mode(node):
    need("iptables-legacy")
    node.apply("--mode", "iptables-legacy")
    node.sh(
        "nft",
        "-f",
        "-",
        text=node.kcompile("compile", "-f", str(node.manifests), "--mode", "nftables", "--node", "node-a"),
    )
    (finding,) = node.findings("other-modes")
    assert "mode iptables-legacy is in use, and rules of nftables are still here" in finding["message"]
    node.mend(finding)
    assert node.findings("other-modes") == []
    assert "KCOMPILE-SERVICES" in node.sh("iptables-legacy-save")
    node.kcompile("delete", "--netns", node.name)
