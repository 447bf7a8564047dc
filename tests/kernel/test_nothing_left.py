"""What the namespace says after `delete` is what it said before the first apply."""

import json
from pathlib import Path

import pytest

from harness import modes, netns
from harness.drift import Node, services

pytestmark = pytest.mark.kernel
SAVE = ("iptables-legacy-save", "ip6tables-legacy-save")
MODES = ["nftables", "iptables-legacy", "iptables-nft", "xdp"]


@pytest.fixture
def node(request, tmp_path):
    if reason := modes.missing(request.param):
        pytest.skip(reason)
    with netns.group(["left"]) as names:
        netns.run(names["left"], ["ip", "link", "set", "lo", "up"])
        yield Node(names["left"], tmp_path, request.param)


def everything(node: Node) -> str:
    """All rules, queueing disciplines and links; of iptables-legacy what isn't an empty built-in chain."""
    lines = [
        line
        for tool in SAVE
        for line in legacy(node, tool).splitlines()
        if line.startswith("-A") or " - [" in line
    ]
    commands = (("nft", "list", "ruleset"), ("tc", "qdisc", "show"), ("ip", "-brief", "link", "show"))
    return "\n".join([*lines, *(node.tool(*command) for command in commands)])


def legacy(node: Node, tool: str) -> str:
    """What `tool` prints, if looking brings no table to life that wasn't there."""
    return node.tool(tool) if legacy_tables(node, "ip6" if tool.startswith("ip6") else "ip") else ""


def legacy_tables(node: Node, family: str) -> list[str]:
    """The legacy tables in the namespace."""
    with netns.enter(node.name):
        path = Path(f"/proc/thread-self/net/{family}_tables_names")
        return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("node", MODES, indirect=True)
def test_nothing_is_left(node):
    before = everything(node)
    node.apply(services())
    assert (everything(node) != before) == (node.mode != "xdp")
    assert node.run("delete").exit_code == 0
    assert everything(node) == before


@pytest.mark.parametrize("node", ["iptables-nft"], indirect=True)
def test_what_others_have_in_the_tables_of_iptables_nft_stays(node):
    """A rule, a chain, a policy and a set of somebody else, beside and before ours."""
    node.tool("iptables-nft", "-A", "INPUT", "-s", "198.51.100.1", "-j", "DROP")
    node.tool("iptables-nft", "-P", "FORWARD", "DROP")
    node.tool("iptables-nft", "-t", "nat", "-N", "MINE")
    node.tool("nft", "add table ip6 nat; add set ip6 nat mine { type ipv6_addr; }")
    before = everything(node)
    node.apply(services())
    assert node.run("delete").exit_code == 0
    assert everything(node) == before


@pytest.mark.parametrize("node", ["iptables-nft"], indirect=True)
def test_a_change_of_mode_leaves_nothing_either(node):
    before = everything(node)
    node.apply(services())
    node.mode = "nftables"
    node.apply()
    assert "KCOMPILE" not in everything(node)
    assert "table ip nat" not in everything(node)
    assert node.run("delete").exit_code == 0
    assert everything(node) == before


@pytest.mark.parametrize("node", ["iptables-nft"], indirect=True)
def test_an_apply_without_services_keeps_the_tables(node):
    """Without its chains the kernel would unhook NAT, and end what is open."""
    node.apply(services())
    headless = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "none", "namespace": "demo"},
        "spec": {"clusterIP": "None"},
    }
    node.apply([headless])
    assert "table ip nat" in everything(node)
    assert node.run("delete").exit_code == 0


@pytest.mark.parametrize("node", ["iptables-legacy"], indirect=True)
def test_looking_brings_no_legacy_table_to_life(node):
    """And IPv4 Services bring none of IPv6, which would stay for as long as the namespace lives."""
    only = [one for one in services() if one.get("addressType") != "IPv6"]
    for one in only:
        if one["kind"] == "Service":
            ip = one["spec"]["clusterIP"]
            one["spec"].update(clusterIPs=[ip], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    (node.folder / "specs.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": only}))
    assert node.changes() != []
    assert (legacy_tables(node, "ip"), legacy_tables(node, "ip6")) == ([], [])
    node.apply()
    assert (sorted(legacy_tables(node, "ip")), legacy_tables(node, "ip6")) == (["filter", "nat"], [])
    assert node.run("delete").exit_code == 0


@pytest.mark.ipvs_kernel
@pytest.mark.parametrize("node", ["ipvs"], indirect=True)
def test_nothing_is_left_by_ipvs(node):
    """But for the legacy tables of iptables, which are empty."""
    sysctls = (
        "net.ipv4.ip_forward",
        "net.ipv6.conf.all.forwarding",
        "net.ipv4.vs.conntrack",
        "net.ipv4.vs.expire_nodest_conn",
    )

    def everything() -> str:
        lines = [
            line
            for tool in SAVE
            for line in legacy(node, tool).splitlines()
            if line.startswith("-A") or " - [" in line
        ]
        commands = (
            ("ipvsadm", "-S", "-n"),
            ("ipvsadm", "-l", "--timeout"),
            ("ipset", "save"),
            ("ip", "-brief", "link", "show"),
        )
        return "\n".join(
            [*lines, *(node.tool(*command) for command in commands), node.tool("sysctl", *sysctls)]
        )

    before = everything()
    node.apply(services(), "--iptables-backend", "legacy")
    assert everything() != before
    assert node.run("delete").exit_code == 0
    assert everything() == before
