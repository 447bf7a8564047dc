"""What the bench kit claims of figures whose truth is known."""

import math

import numpy as np
import pytest

from kcompile_bench.kit import intervals
from kcompile_bench.kit.intervals import (
    MIN_BLOCKS,
    Floor,
    Interval,
    claim,
    floor_of,
    median_interval,
    ratio_of,
    ratio_of_ratios,
    slope_of,
)

RUNS = 100


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 300)


class Machine:
    """Blocks as a busy machine gives them: slow rounds, blocks that are slow by themselves, and copies that
    keep a bias.
    """

    def __init__(self, seed: int, *, bias: float, noise: float, rounds: int = 20):
        self.random = np.random.default_rng(seed)
        self.bias, self.noise, self.rounds = bias, noise, rounds
        self.drift = np.exp(self.random.normal(0, 0.15, rounds))

    def blocks(self, factor: float = 1.0) -> list[float]:
        own = math.exp(self.random.normal(0, self.bias))
        return list(
            25_000 * factor * own * self.drift * np.exp(self.random.normal(0, self.noise, self.rounds))
        )

    def claimed(self, factor: float) -> tuple[int, Floor]:
        """What is said of a condition that is `factor` times the baseline, after an A/A run over three paths
        with two copies each.
        """
        base = [self.blocks() for _ in range(3)]
        floor = floor_of(ratio_of(self.blocks(), base[path]) for path in range(3) for _ in range(2))
        assert floor
        return claim(ratio_of(self.blocks(factor), base[0]), floor), floor


@pytest.mark.parametrize(
    ("bias", "noise"), [(0.0, 0.02), (0.0, 0.1), (0.02, 0.02), (0.03, 0.01), (0.02, 0.1)]
)
def test_two_equal_things_are_hardly_ever_said_to_differ(bias: float, noise: float):
    said = [Machine(seed, bias=bias, noise=noise).claimed(1.0)[0] for seed in range(RUNS)]
    assert sum(map(bool, said)) <= 5


@pytest.mark.parametrize(("bias", "noise"), [(0.02, 0.02), (0.0, 0.1), (0.02, 0.1)])
def test_three_percent_below_the_floor_are_never_claimed(bias: float, noise: float):
    runs = [Machine(seed, bias=bias, noise=noise).claimed(1.03) for seed in range(RUNS)]
    below = [said for said, floor in runs if floor.share > 0.03]
    assert len(below) > RUNS / 2
    # a ratio that comes out beyond the floor by chance would be an A/A claim: the same 5 of 100
    assert sum(map(bool, below)) <= 5


@pytest.mark.parametrize(("bias", "noise"), [(0.0, 0.02), (0.02, 0.02), (0.03, 0.01), (0.0, 0.05)])
def test_thirty_percent_are_found(bias: float, noise: float):
    said = [Machine(seed, bias=bias, noise=noise).claimed(1.3)[0] for seed in range(RUNS)]
    assert said.count(1) >= 95
    assert -1 not in said


def test_a_thirty_percent_gain_is_one():
    assert Machine(1, bias=0.0, noise=0.02).claimed(0.7)[0] == -1


def test_nothing_is_claimed_without_an_a_a_run_or_with_too_few_blocks():
    far = Interval(2.0, 1.9, 2.1, MIN_BLOCKS)
    assert floor_of([]) is None
    assert claim(far, None) == 0
    floor = Floor(0.05, 4)
    assert claim(far, floor) == 1
    assert claim(far._replace(blocks=MIN_BLOCKS - 1), floor) == 0


def test_nothing_is_claimed_under_the_floor_however_narrow_the_interval():
    floor = Floor(0.05, 4)
    assert claim(Interval(1.049, 1.048, 1.050, 100), floor) == 0
    assert claim(Interval(1.06, 1.04, 1.08, 100), floor) == 0  # reaches below
    assert claim(Interval(1.06, 1.051, 1.08, 100), floor) == 1
    assert claim(Interval(1 / 1.06, 1 / 1.08, 1 / 1.051, 100), floor) == -1


def test_the_floor_widens_when_few_pairs_speak_for_it():
    one, four = (floor_of([Interval(1.01, 0.99, 1.03, 20)] * n) for n in (1, 4))
    assert one
    assert four
    assert one.share > 0.1  # Student's t with one degree of freedom: 12.7
    assert four.share == pytest.approx(math.expm1(2.776 * math.log(1.01)), rel=1e-3)
    outlier = floor_of([Interval(1.0001, 1, 1, 20)] * 30 + [Interval(1.05, 1, 1, 20)])
    assert outlier
    assert outlier.share == pytest.approx(0.05)  # never below what was seen


def test_the_floor_of_a_ratio_between_runs_adds_their_noise_and_knows_how_many_figures_there_are():
    quiet, loud = ([Interval(x, 0.9, 1.1, 20)] * 4 for x in (1.01, 1.03))
    assert floor_of(quiet, []) is None
    same = floor_of(quiet, quiet)
    share = math.expm1(2.306 * math.log(1.01) * math.sqrt(2))  # eight degrees of freedom
    assert same == Floor(pytest.approx(share, rel=1e-3), 8)
    unlike = floor_of(quiet, loud)
    assert unlike
    freedom = (
        4 * (math.log(1.01) ** 2 + math.log(1.03) ** 2) ** 2 / (math.log(1.01) ** 4 + math.log(1.03) ** 4)
    )
    assert 4 < freedom < 5
    spread = math.hypot(math.log(1.01), math.log(1.03))
    assert math.expm1(2.571 * spread) < unlike.share < math.expm1(2.776 * spread)  # between five and four
    fifty = floor_of(quiet, quiet, comparisons=50)
    assert fifty
    share = math.expm1(5.041 * math.log(1.01) * math.sqrt(2))  # 0.1% of eight
    assert fifty.share == pytest.approx(share, rel=1e-3)


def test_what_slows_a_whole_round_cancels_out():
    machine = Machine(3, bias=0.0, noise=0.001)
    base = machine.blocks()
    ratio = ratio_of([1.2 * x for x in base], base)
    assert ratio.value == pytest.approx(1.2)
    assert ratio.high - ratio.low < 0.01
    assert median_interval(base).high / median_interval(base).low > 1.05


def test_rounds_without_a_figure_are_left_out():
    assert ratio_of([2.0, None, 6.0, 4.0], [1.0, 5.0, None, 2.0]).blocks == 2
    with pytest.raises(ValueError, match="no round"):
        ratio_of([None], [1.0])


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    held = 0
    for seed in range(RUNS):
        machine = Machine(seed, bias=0.0, noise=0.1, rounds=24)
        base = machine.blocks()
        ratio = ratio_of(machine.blocks(1.1), base)
        held += ratio.low <= 1.1 <= ratio.high
    assert held >= 90


def test_runs_are_compared_by_their_own_baselines():
    slow, fast = Machine(1, bias=0.0, noise=0.01), Machine(2, bias=0.0, noise=0.01)
    ratio = ratio_of_ratios(
        ([9.0 * x for x in slow.blocks(1.3)], [9.0 * x for x in slow.blocks()]),
        (fast.blocks(), fast.blocks()),
    )
    assert ratio.low <= 1.3 <= ratio.high
    assert ratio.value == pytest.approx(1.3, rel=0.02)


def test_a_line_through_columns():
    random = np.random.default_rng(1)
    columns = [
        [20_000 + 4.2 * at + random.normal(0, 200) for _ in range(20)] for at in (1, 100, 1000, 10_000)
    ]
    slope = slope_of([1, 100, 1000, 10_000], columns)
    assert slope.low <= 4.2 <= slope.high
    assert slope.value == pytest.approx(4.2, abs=0.1)


@pytest.mark.parametrize("count", [1, 2, 23, 24])
def test_medians_of_draws_are_numpy_s(count: int):
    generator = np.random.default_rng(count)
    values, draws = generator.normal(size=count), generator.integers(0, count, (50, count))
    assert (intervals._medians(values, draws) == np.median(values[draws], axis=1)).all()
