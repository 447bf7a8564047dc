"""Why a mode isn't there, in one line for people, out of what a command on a node printed."""

import pytest

from kcompile.errors import KcompileError
from kcompile_bench.kit.rules import reason_of


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            "ipvs on node-a: exit 1: kcompile: this kernel has no IPVS (modprobe ip_vs)",
            "this kernel has no IPVS (modprobe ip_vs)",
        ),
        (
            "iptables-legacy-restore is missing (apt-get install iptables)",
            "iptables-legacy-restore is missing (apt-get install iptables)",
        ),
        (
            "x on node-a: exit 2: Usage: kcompile apply\n\nError: no such option: --mode",
            "no such option: --mode",
        ),
        (
            "x on node-a: exit 1: Traceback (most recent call last):\n  File\nKeyError: 'a'",
            "kcompile crashed: KeyError: 'a'",
        ),
        ("x" * 300, "x" * 200 + " ..."),
    ],
)
def test_reasons(printed: str, reason: str):
    assert reason_of(KcompileError(printed)) == reason
