"""What `kcompile bench compare` says of whole runs whose truth is known: many figures, and one verdict on all
of them.
"""

import math
import random

import pytest

from kcompile_bench.kit import intervals
from kcompile_bench.kit.compare import Comparison, compare
from kcompile_bench.kit.measures import KINDS
from kcompile_bench.kit.profiles import narrowed, profile
from kcompile_bench.kit.results import Results

RUNS = 100
MODES = ("linear", "iptables-legacy", "iptables-nft", "nftables")
PLAN = narrowed(profile("quick"), modes=MODES, kinds=("connect", "crr", "rate"))


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 100)


def run(seed: int, *, bias: float, noise: float, slowed: str = "") -> Results:
    """A run of PLAN: rounds drift, blocks are noisy, and each condition keeps its `bias`; mode `slowed` takes
    1.3 times as long.
    """
    generator = random.Random(seed)
    results = Results(PLAN, {})
    for stage in (stage for group in PLAN.each_group() for stage in PLAN.stages(group)):
        own = {
            c: math.exp(generator.gauss(0, bias)) * (1.3 if c.mode == slowed else 1) for c in stage.conditions
        }
        figure = KINDS[stage.measure.kind].primary
        for number in range(stage.measure.rounds):
            drift = math.exp(generator.gauss(0, 0.15))
            times = {
                c: 20_000 * own[c] * drift * math.exp(generator.gauss(0, noise)) for c in stage.conditions
            }
            results.rounds[stage.name][number] = {
                str(c): {"figures": {figure: 1e9 / time if figure == "rate" else time}}
                for c, time in times.items()
            }
    return results


def compared(seed: int, *, bias: float, noise: float, slowed: str = "") -> Comparison:
    return compare(
        run(2 * seed, bias=bias, noise=noise), run(2 * seed + 1, bias=bias, noise=noise, slowed=slowed)
    )


@pytest.mark.parametrize(("bias", "noise"), [(0.0, 0.02), (0.02, 0.02), (0.03, 0.01)])
def test_of_two_equal_runs_hardly_any_figure_is_said_to_differ(bias: float, noise: float):
    found = [compared(seed, bias=bias, noise=noise) for seed in range(RUNS)]
    assert {len(c.found) for c in found} == {60}
    assert sum(any(d.verdict for d in c.found) for c in found) <= 5


@pytest.mark.parametrize(("bias", "noise"), [(0.0, 0.02), (0.01, 0.02)])
def test_a_mode_that_takes_thirty_percent_longer_is_found(bias: float, noise: float):
    for seed in range(10):
        found = compared(seed, bias=bias, noise=noise, slowed="nftables")
        worse = {d.condition.mode for d in found.regressions}
        assert worse == {"nftables"}
        assert len(found.regressions) >= 12  # of 15
