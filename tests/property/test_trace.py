"""The packet model finds all modes alike on random dataplanes; bench/trials/trace_modes.py tries more."""

import pytest

from harness.likeness import differences


@pytest.mark.parametrize("seed", range(4))
def test_modes_treat_packets_alike(seed: int):
    assert list(differences(seed, 40)) == []
