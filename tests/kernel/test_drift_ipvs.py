"""What somebody changes behind kcompile's back in mode ipvs: a plan shows it, an apply puts it right, and
then there is nothing to do.

Many changes are made at once: a command takes seconds in User-mode Linux.
"""

import pytest

from harness import modes, netns
from harness.drift import Node, service, services

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
ONE, TWO, THREE, FOUR = "10.96.0.1:80", "10.96.0.2:80", "10.96.0.3:80", "10.96.0.4:80"

# (the command, what the plan shows of it)
CHANGED = [
    ("ip address add 10.9.9.9/32 dev kcompile-ipvs0", "delete ip address"),
    (f"ipvsadm -e -t {TWO} -r 10.244.0.2:8080 -m -w 7", f"update ipvsadm -a -t {TWO}"),
    (f"ipvsadm -e -t {THREE} -r 10.244.0.3:80 -i -w 1", f"update ipvsadm -a -t {THREE}"),
    (f"ipvsadm -e -t {FOUR} -r 10.244.0.4:8080 -m -w 1 -x 5 -y 2", f"update ipvsadm -a -t {FOUR}"),
    (
        "ipvsadm -e -t [fd00:10:96::2]:80 -r [fd00:10:244::2]:8080 -m -w 0",
        "update ipvsadm -a -t [fd00:10:96::2]:80",
    ),
    ("ipvsadm -d -t [fd00:10:96::3]:80 -r [fd00:10:244::3]:80", "create ipvsadm -a -t [fd00:10:96::3]:80"),
    (f"ipvsadm -a -t {TWO} -r 10.9.9.9:8080 -m", f"delete ipvsadm -a -t {TWO} -r 10.9.9.9:8080"),
    (f"ipvsadm -E -t {TWO} -s wlc", f"update ipvsadm -A -t {TWO}"),
    (f"ipvsadm -E -t {THREE} -s rr -p 77", f"update ipvsadm -A -t {THREE}"),
    (f"ipvsadm -E -t {ONE} -s rr -p 600 -M 255.255.0.0", f"update ipvsadm -A -t {ONE}"),
    ("ipvsadm -E -t [fd00:10:96::1]:80 -s rr -p 77", "update ipvsadm -A -t [fd00:10:96::1]:80"),
    ("ipvsadm -D -t [fd00:10:96::4]:80", "create ipvsadm -A -t [fd00:10:96::4]:80"),
    ("ipset add KCOMPILE-4-FRONTENDS 10.9.9.9,tcp:80", "delete ipset"),
    ("ipset flush KCOMPILE-6-FRONTENDS", "create ipset"),
    ("iptables-legacy -I KCOMPILE-IPVS-INPUT -s 10.9.9.9 -j RETURN", "KCOMPILE-IPVS-INPUT"),
    ("ip6tables-legacy -D INPUT 1", "create ip6tables -t filter"),
    ("sysctl -w net.ipv4.vs.conntrack=0", "update sysctl net.ipv4.vs.conntrack"),
]
DOWN = [("ip link set kcompile-ipvs0 down", "update ip link")]
GONE = [
    ("ip link del kcompile-ipvs0", "create ip link"),
    ("ipvsadm -C", f"create ipvsadm -A -t {TWO}"),
    ("ipset flush", "create ipset"),
    ("iptables-legacy -F", "KCOMPILE-IPVS-INPUT"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    with netns.group(["drift"]) as names:
        netns.run(names["drift"], ["ip", "link", "set", "lo", "up"])
        made = Node(names["drift"], tmp_path_factory.mktemp("drift"), "ipvs")
        made.apply(
            [*services(), *service("three", 3, target=80), *service("four", 4)],
            "--iptables-backend",
            "legacy",
        )
        yield made
        assert made.run("delete").exit_code == 0
        assert made.tool("ipvsadm", "-S", "-n") == ""


@pytest.mark.parametrize("changed", [CHANGED, DOWN, GONE], ids=["changed", "down", "gone"])
def test_ipvs(node, changed):
    assert node.changes() == []
    before = held(node)
    for command, _ in changed:
        node.tool(*command.split())
    assert held(node) != before
    found = node.changes()
    unseen = [shown for _, shown in changed if not any(shown in line for line in found)]
    assert unseen == [], found
    node.apply()
    assert node.changes() == []
    assert held(node) == before


def held(node: Node) -> list[list[str]]:
    """Virtual servers, addresses with their routes, sets, and rules in their order."""
    servers = node.tool("ipvsadm", "-S", "-n").splitlines()
    limits = [line for line in node.tool("ipvsadm", "-L", "-n", "--thresholds").splitlines() if "->" in line]
    shown = node.tool("ip", "-oneline", "address", "show").splitlines()
    addresses = [line.split()[3] for line in shown if "kcompile-ipvs0" in line]
    routes = [
        line
        for line in node.tool("ip", "route", "show", "table", "local").splitlines()
        if "kcompile-ipvs0" in line
    ]
    sets = node.tool("ipset", "save").splitlines()
    rules = [line for line in node.tool("iptables-legacy-save").splitlines() if line.startswith("-A")]
    return [sorted(servers), sorted(limits), sorted(addresses), sorted(routes), sorted(sets), rules]
