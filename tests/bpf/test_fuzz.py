"""A short run of the fuzzer; the long one is ``make fuzz-xdp``."""

import pytest

from .fuzz import fuzz
from .world import World

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("seed", [1, 2])
def test_no_packet_is_passed_changed(world: World, seed: int):
    seen = fuzz(world, 10_000, seed)
    assert {"-1", "2", "7"} <= set(seen["ingress"])
    assert {"-1", "7"} <= set(seen["egress"])
    assert {"2"} <= set(seen["xdp"])
