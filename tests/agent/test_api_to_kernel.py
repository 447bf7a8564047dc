"""From an API server whose connections go wrong to the kernel, which ends with the right rules.

A sample: bench/trials/faults.py takes any number of seeds.
"""

import asyncio

import pytest

from harness import netns
from harness.followed import NODE, follow
from harness.modes import missing

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    ("mode", "seed"),
    [("nftables", 2), ("nftables", 3), ("iptables-legacy", 5), ("iptables-nft", 5), ("xdp", 5)],
)
def test_the_kernel_ends_with_the_rules_of_everything(mode, seed, tmp_path, monkeypatch):
    if reason := missing(mode):
        pytest.skip(reason)
    for name in ("RUN", "STATE"):
        monkeypatch.setenv(f"KCOMPILE_{name}_DIR", str(tmp_path / name.lower()))
    with netns.group(["node"]) as names:
        netns.batch(
            [
                "link add eth0 type veth peer name peer",
                "link set eth0 up",
                "link set peer up",
                f"address add {NODE}/24 dev eth0",
            ],
            names["node"],
        )
        assert asyncio.run(follow(names["node"], tmp_path, mode, seed)) == ""
