"""The table in docs/reference/modes.md of what a packet meets in each mode: made of the rules themselves.

``pytest tests/unit/iptables tests/unit/test_crossings.py --update-golden`` writes it.
"""

import re
from pathlib import Path

import pytest

from harness.crossings import Flow, NftablesWalk
from kcompile.ir.model import Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings
from kcompile.modes import mode_of
from kcompile.passes import resolve
from kcompile.targets.xtables.keys import ChainKey, JumpKey
from unit.iptables.walker import Packet, Walker

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/modes.md"
BEGIN, END = "<!-- crossings -->\n", "<!-- /crossings -->\n"
SERVICES = 1000
POD, OUTSIDE, NODE = "10.244.0.5", "203.0.113.7", "192.0.2.10"
FLOWS = {
    "pod to ClusterIP": Flow(POD, "10.96.1.200", 80),
    "outside to NodePort": Flow(OUTSIDE, NODE, 30456, to_node=True),
    "pod to pod": Flow(POD, "10.244.1.9", 8080),
}


def ports():
    """Services with two endpoints, and one without any."""
    for number in range(SERVICES):
        pods = [f"10.244.{node}.{10 + number % 200}" for node in (0, 1)]
        yield ServicePort(
            name=f"default/s{number}:http",
            family=Family.IPV4,
            protocol=Protocol.TCP,
            port=80,
            cluster_ip=f"10.96.{number >> 8}.{number & 255}",
            node_port=30000 + number,
            endpoints=tuple(Endpoint(pod, 8080, name) for pod, name in zip(pods, "ab", strict=True))
            if number
            else (),
        )


@pytest.fixture(scope="module")
def program():
    def lowered(mode):
        settings = Settings(
            compat=Compat.of("iptables" if mode == "iptables" else "nftables"),
            detector=Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16"),
            service_cidrs=("10.96.0.0/12",),
        )
        node = NodeFacts(name="a", addresses=(NODE,), node_ports4=None if mode == "iptables" else (NODE,))
        return mode_of(mode).target().lower(resolve(list(ports()), node, settings))

    return lowered


def rows(program):
    nft, legacy = NftablesWalk(program("nftables")), Walker(program("iptables"), "ip4")
    for name, flow in FLOWS.items():
        first, later = nft.count(flow, first=True), nft.count(flow, first=False)
        yield f"| `nftables` | {name} | {_cell(*first)} | {_cell(*later)} |"
    for name, flow in FLOWS.items():
        packet = Packet(flow.source, flow.destination, "tcp", flow.port, local=frozenset([NODE]))
        first = legacy.crossings(packet)
        later = legacy.crossings(Packet(flow.source, "10.244.1.9", "tcp", 8080, state="ESTABLISHED"))
        yield f"| `iptables-*` | {name} | {_cell(*first)} | {_cell(*later)} |"
    first, later = (_ipvs(program("ipvs"), new) for new in (True, False))
    yield f"| `ipvs` | pod to ClusterIP | {_cell(*first)} | {_cell(*later)} |"


def _cell(hooks, rules, lookups=None):
    return f"{hooks} / {rules}" + (f" / {lookups}" if lookups is not None else " / -")


def _ipvs(program, new):
    """Hooks and the most rules on the way to a virtual server of this node and out again."""
    chains = {k.name: v for k, v in program.items() if isinstance(k, ChainKey) and k.family == "ip4"}
    hooks = rules = 0
    for key in program:
        if isinstance(key, JumpKey) and key.family == "ip4" and key.hook != "FORWARD":
            if key.table == "nat" and not new:
                continue
            hooks, rules = hooks + 1, rules + 1
            if new or "--ctstate NEW" not in key.rule:
                rules += len(chains[key.rule.rpartition(" ")[2]])
    return hooks, rules


def test_the_table_says_what_the_rules_are(program, request):
    text = PAGE.read_text()
    head = f"| mode | traffic ({SERVICES:,} Services) | first packet | a later one |\n{'| --- ' * 4}|\n"
    table = head + "".join(f"{row}\n" for row in rows(program))
    if request.config.getoption("--update-golden", default=False):
        PAGE.write_text(re.sub(f"{BEGIN}.*{END}", f"{BEGIN}{table}{END}", text, flags=re.DOTALL))
        return
    assert table in text, "docs/reference/modes.md: --update-golden writes the table"


def test_a_later_packet_meets_no_chain_of_mode_nftables(program):
    walk = NftablesWalk(program("nftables"))
    assert {walk.count(flow, first=False) for flow in FLOWS.values()} == {(0, 0, 0)}
