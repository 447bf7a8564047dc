"""Connections are carried over where conntrack goes on afterwards, for rules of somebody else need it."""

from pathlib import Path

import pytest

from harness import modes, netns, sequence
from harness.sequence_runner import run_sequence

pytestmark = pytest.mark.kernel
SEQUENCES = Path(__file__).parents[1] / "conformance" / "sequences"
FOREIGN = """\
table {family} foreign {{
    chain nat {{ type nat hook output priority 0; }}
    chain in {{ type filter hook input priority 0; ct state invalid drop; }}
    chain through {{ type filter hook forward priority 0; ct state invalid drop; }}
}}
"""
LEFT = (
    "delete left behind: rule ip foreign in; rule ip foreign through; "
    "rule ip6 foreign in; rule ip6 foreign through"
)


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy"])
def test_connections_are_carried_over_beside_foreign_conntrack_rules(mode: str, tmp_path: Path):
    for one in (mode, "xdp-tc"):
        if reason := modes.missing(one):
            pytest.skip(reason)

    def prepare(namespace: str) -> None:
        for family in ("ip", "ip6"):
            netns.run(namespace, ["nft", "-f", "-"], text=FOREIGN.format(family=family))

    failures = run_sequence(sequence.load(SEQUENCES / "5-to-xdp.yaml"), mode, tmp_path, prepare)
    assert not [failure for failure in failures if failure != LEFT], "\n".join(failures)
