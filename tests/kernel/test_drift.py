"""What somebody changes behind kcompile's back: a plan shows it, an apply puts it right, and then there is
nothing to do.
"""

import json

import pytest

from harness import modes, netns
from harness.drift import Node, services

pytestmark = pytest.mark.kernel


@pytest.fixture
def node(tmp_path, request):
    mode = getattr(request, "param", "nftables")
    if reason := modes.missing(mode):
        pytest.skip(reason)
    with netns.group(["drift"]) as names:
        netns.run(names["drift"], ["ip", "link", "set", "lo", "up"])
        made = Node(names["drift"], tmp_path, mode)
        made.apply(services())
        assert made.changes() == []
        yield made
        assert made.run("delete").exit_code == 0


NFT = {
    "the table sleeps": ("add table ip kcompile { flags dormant; }", "table ip kcompile"),
    "the IPv6 table sleeps": ("add table ip6 kcompile { flags dormant; }", "table ip6 kcompile"),
    "another policy": (
        "add chain ip kcompile postrouting { type nat hook postrouting priority 100; policy drop; }",
        "chain ip kcompile postrouting",
    ),
    "another priority": (
        (
            "delete chain ip kcompile output; "
            "add chain ip kcompile output { type nat hook output priority -50; }"
        ),
        "chain ip kcompile output",
    ),
    "a rule": ("add rule ip kcompile prerouting ip saddr 198.51.100.1 drop", "chain ip kcompile prerouting"),
    "a rule is gone": ("flush chain ip kcompile output", "chain ip kcompile output"),
    "a chain": (
        "add chain ip kcompile mine; add rule ip kcompile mine accept",
        "delete chain ip kcompile mine",
    ),
    "a base chain": (
        "add chain ip6 kcompile mine { type filter hook input priority 0; policy drop; }",
        "delete chain ip6 kcompile mine",
    ),
    "a counter": ("add counter ip kcompile mine", "delete counter ip kcompile mine"),
    "a quota": ("add quota ip kcompile mine { 10 mbytes; }", "delete quota ip kcompile mine"),
    "a limit": ("add limit ip kcompile mine { rate 1/second; }", "delete limit ip kcompile mine"),
    "a helper": (
        'add ct helper ip kcompile mine { type "ftp" protocol tcp; }',
        "delete ct helper ip kcompile mine",
    ),
    "a timeout": (
        "add ct timeout ip kcompile mine { protocol tcp; policy = { established: 100 }; }",
        "delete ct timeout ip kcompile mine",
    ),
    "an expectation": (
        "add ct expectation ip kcompile mine { protocol tcp; dport 9876; timeout 1m; size 12; l3proto ip; }",
        "delete ct expectation ip kcompile mine",
    ),
    "a synproxy": (
        "add synproxy ip kcompile mine { mss 1460; wscale 7; }",
        "delete synproxy ip kcompile mine",
    ),
    "a set": (
        "add set ip kcompile mine { type inet_service; elements = { 1, 2 }; }",
        "delete set ip kcompile mine",
    ),
    "a set of ranges": (
        (
            "add set ip kcompile mine { type ipv4_addr; flags interval; "
            "elements = { 10.0.0.0/8, 192.0.2.1-192.0.2.9 }; }"
        ),
        "delete set ip kcompile mine",
    ),
    "a map of ranges": (
        (
            "add map ip kcompile mine { type ipv4_addr . inet_service : verdict; flags interval; "
            "elements = { 192.0.2.0/24 . 5-8 : drop }; }"
        ),
        "delete map ip kcompile mine",
    ),
    "a map to counters, and a rule that asks it": (
        (
            "add counter ip kcompile mine; "
            'add map ip kcompile counted { type ipv4_addr : counter; elements = { 192.0.2.1 : "mine" }; };'
            "add rule ip kcompile prerouting counter name ip saddr map @counted"
        ),
        "delete counter ip kcompile mine",
    ),
    "a map to a chain, and a rule that asks it": (
        (
            "add chain ip kcompile mine; "
            "add map ip kcompile where { type ipv4_addr : verdict; elements = { 192.0.2.1 : jump mine }; };"
            "add rule ip kcompile output ip daddr vmap @where"
        ),
        "delete chain ip kcompile mine",
    ),
    "an element": (
        "add element ip kcompile frontends { 10.96.0.77 . tcp . 80 : drop }",
        "delete element ip kcompile frontends",
    ),
    "an element is gone": ("flush map ip kcompile frontends", "create element ip kcompile frontends"),
    "a map is another": (
        (
            "flush chain ip kcompile postrouting; delete set ip kcompile hairpin;"
            "add set ip kcompile hairpin { type ipv4_addr . ipv4_addr; size 30; flags interval; }"
        ),
        "set ip kcompile hairpin",
    ),
    "the table is gone": ("delete table ip6 kcompile", "create table ip6 kcompile"),
}


@pytest.mark.parametrize("case", NFT)
def test_nftables(node, case):
    script, shown = NFT[case]
    node.tool("nft", script)
    found = node.changes()
    assert any(shown in line for line in found), found
    node.apply()
    assert node.changes() == []
    listing = node.tool("nft", "list", "ruleset")
    assert "mine" not in listing
    assert "dormant" not in listing


def test_nftables_much_at_once(node):
    """A sleeping table takes no change of a base chain in the transaction that wakes it."""
    for case in (
        "another policy",
        "another priority",
        "a base chain",
        "a map to counters, and a rule that asks it",
        "the table sleeps",
    ):
        node.tool("nft", NFT[case][0])
    node.apply()
    assert node.changes() == []


def test_a_changed_policy_is_put_back_in_place(node):
    """The clients of session affinity are not forgotten for it."""
    (name,) = [
        line.split()[1]
        for line in node.tool("nft", "list", "table", "ip", "kcompile").splitlines()
        if "set affinity-" in line
    ]
    node.tool("nft", f"add element ip kcompile {name} {{ 192.0.2.99 }}")
    node.tool("nft", NFT["another policy"][0])
    node.apply()
    assert "192.0.2.99" in node.tool("nft", "list", "set", "ip", "kcompile", name)


@pytest.mark.parametrize(
    "script", ["flush chain ip kcompile prerouting", NFT["the table sleeps"][0], NFT["a counter"][0]]
)
def test_the_doctor_names_rules_that_were_changed(node, script):
    def found():
        report = json.loads(node.run("doctor", "--mode", "nftables", "-o", "json").stdout)
        return [f for f in report["findings"] if f["check"] == "rules" and f["severity"] != "ok"]

    assert found() == []
    node.tool("nft", script)
    (finding,) = found()
    assert finding["severity"] == "warning"
    assert "nftables" in finding["message"]
    node.apply()
    assert found() == []


IPTABLES = {
    "a rule in our chain": (
        ["-t", "nat", "-I", "KCOMPILE-SERVICES", "-s", "198.51.100.1", "-j", "RETURN"],
        "KCOMPILE-SERVICES",
    ),
    "a rule is gone": (["-t", "nat", "-F", "KCOMPILE-SERVICES"], "KCOMPILE-SERVICES"),
    "a jump is gone": (["-t", "nat", "-D", "PREROUTING", "1"], "create iptables -t nat -I PREROUTING"),
    "a jump is there twice": (
        [
            "-t",
            "nat",
            "-A",
            "OUTPUT",
            "-m",
            "comment",
            "--comment",
            "kcompile: services",
            "-j",
            "KCOMPILE-SERVICES",
        ],
        "OUTPUT",
    ),
    "another jump to our chain": (
        ["-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "KCOMPILE-SERVICES"],
        "delete iptables -t nat -I OUTPUT",
    ),
    "a chain of our name": (["-t", "nat", "-N", "KCOMPILE-MINE"], "delete iptables -t nat -N KCOMPILE-MINE"),
    "everything is gone": (["-t", "filter", "-F"], "filter"),
}


@pytest.mark.parametrize("node", ["iptables-legacy", "iptables-nft"], indirect=True)
def test_iptables(node):
    for case, (command, shown) in IPTABLES.items():
        node.tool(node.mode, *command)
        found = node.changes()
        assert any(shown in line for line in found), (case, found)
        node.apply()
        assert node.changes() == [], case
        assert "198.51.100.1" not in node.tool(f"{node.mode}-save")


@pytest.mark.parametrize("node", ["iptables-nft"], indirect=True)
def test_a_rule_that_iptables_cannot_read_is_an_error(node):
    """Taken for nothing, everything would be written again with each apply, and a delete would leave it all
    there.
    """
    before = node.tool("nft", "list", "ruleset")
    node.tool("nft", "add chain ip nat mine; add rule ip nat mine numgen random mod 2 0 accept")
    for command in (
        ["delete"],
        ["plan", "-f", str(node.folder / "specs.json"), "--mode", node.mode, "--node", "node-a"],
    ):
        done = node.run(*command)
        assert done.exit_code == 1
        assert "iptables-nft-save can't read table ip nat" in done.stderr
    node.tool("nft", "flush chain ip nat mine; delete chain ip nat mine")
    assert node.tool("nft", "list", "ruleset") == before


def test_beside_a_rule_that_iptables_cannot_read_iptables_nft_is_refused(node):
    node.tool(
        "nft", "add table ip nat; add chain ip nat mine; add rule ip nat mine numgen random mod 2 0 accept"
    )
    before = node.tool("nft", "list", "ruleset")
    done = node.run(
        "apply", "-f", str(node.folder / "specs.json"), "--mode", "iptables-nft", "--node", "node-a"
    )
    assert done.exit_code == 1
    assert "iptables-nft-save can't read table ip nat" in done.stderr
    assert node.tool("nft", "list", "ruleset") == before
    assert node.changes() == [], "mode nftables has nothing to do with it"


@pytest.mark.parametrize("node", ["iptables-nft"], indirect=True)
def test_iptables_nft_by_the_hand_of_nft(node):
    node.tool("nft", "add rule ip nat KCOMPILE-SERVICES ip daddr 198.51.100.1 drop")
    found = node.changes()
    assert any("KCOMPILE-SERVICES" in line for line in found), found
    node.apply()
    assert node.changes() == []
