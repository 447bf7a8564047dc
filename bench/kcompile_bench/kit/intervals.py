"""What can be said of figures that were measured in blocks, side by side, on a machine that is never quiet.

Blocks of one condition differ by half for no reason (facts of other programs, of caches, of luck), but what
slows a round slows all conditions of it. So conditions are compared round by round, by the median of the
ratios of their blocks; rounds are drawn again for the bootstrap interval, and a second copy of the baseline
(A/A) says how far apart two equal things come out: the noise floor.

The rule, in `claim`: a difference is claimed where the whole interval is beyond the floor, which is as far
from 1 as the next A/A ratio would land in 95 of 100 runs (Student's t over the logarithms of those that were
measured), and no less than the farthest of them. An interval that excludes 1 isn't enough: two equal copies
differ by more than their intervals say, since each keeps its own addresses, hash buckets and cache lines for
a whole run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

__all__ = [
    "CONFIDENCE",
    "MIN_BLOCKS",
    "Floor",
    "Interval",
    "claim",
    "floor_of",
    "median_interval",
    "ratio_of",
    "ratio_of_ratios",
    "slope_of",
]

CONFIDENCE = 0.95
MIN_BLOCKS = 20
"""Fewer blocks than this make no claim at all: their bootstrap interval is too narrow."""

RESAMPLES = 2000
_SEED = 1
_STEPS = 1_000_000


class Interval(NamedTuple):
    """An estimate and the ends of its 95% interval; `blocks`: the number of figures behind it."""

    value: float
    low: float
    high: float
    blocks: int


class Floor(NamedTuple):
    """Noise: the share by which an interval has to differ from 1, as `pairs` A/A ratios show it."""

    share: float
    pairs: int


@cache
def _drawn(resamples: int, count: int, seed: int) -> Any:
    import numpy as np

    return np.random.default_rng(seed).integers(0, count, size=(resamples, count))


def _draws(count: int, seed: int) -> Any:
    """RESAMPLES x `count` random indexes of rounds."""
    return _drawn(RESAMPLES, count, seed)


def _interval(value: float, drawn: Any, blocks: int) -> Interval:
    import numpy as np

    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(value), float(low), float(high), blocks)


def _paired(*columns: Sequence[float | None]) -> list[Any]:
    """The columns as arrays, without rounds in which one lacks the figure. Raises ValueError where none is
    left.
    """
    import numpy as np

    rows = [row for row in zip(*columns, strict=True) if all(x is not None and x > 0 for x in row)]
    if not rows:
        raise ValueError("no round has all figures")
    return list(np.asarray(rows, dtype=float).T)


def _medians(values: Any, draws: Any) -> Any:
    """The median of each row of draws: equal to np.median, in a third of its time on such short rows."""
    import numpy as np

    ordered = np.sort(values[draws], axis=1)
    middle = ordered.shape[1] // 2
    return ordered[:, middle] if ordered.shape[1] % 2 else (ordered[:, middle - 1] + ordered[:, middle]) / 2


def median_interval(blocks: Sequence[float | None], seed: int = _SEED) -> Interval:
    """The median of block figures."""
    import numpy as np

    (values,) = _paired(blocks)
    return _interval(np.median(values), _medians(values, _draws(len(values), seed)), len(values))


def ratio_of(blocks: Sequence[float | None], base: Sequence[float | None], seed: int = _SEED) -> Interval:
    """The median over rounds of `blocks` divided by `base`: one figure a round each, None where a block
    failed.

    By rounds, not median by median: a processor that changes its pace in the middle of a run then changes
    nothing.
    """
    import numpy as np

    over, under = _paired(blocks, base)
    ratios = over / under
    return _interval(np.median(ratios), _medians(ratios, _draws(len(ratios), seed)), len(ratios))


def ratio_of_ratios(
    new: tuple[Sequence[float | None], Sequence[float | None]],
    old: tuple[Sequence[float | None], Sequence[float | None]],
) -> Interval:
    """How a ratio (blocks, base) of one run compares with that of another: above 1 where `new` is the larger.

    The runs are drawn apart.
    """
    import numpy as np

    ratios = [over / under for over, under in (_paired(*columns) for columns in (new, old))]
    drawn = [_medians(r, _draws(len(r), seed)) for seed, r in enumerate(ratios, _SEED)]
    value = np.median(ratios[0]) / np.median(ratios[1])
    return _interval(value, drawn[0] / drawn[1], min(map(len, ratios)))


def slope_of(at: Sequence[float], columns: Sequence[Sequence[float]], seed: int = _SEED) -> Interval:
    """The slope of a line through the medians of `columns`, which were measured at `at` (two of them at
    least): least squares.

    Columns are drawn apart: they come from different groups of rounds.
    """
    import numpy as np

    values = [np.asarray(column, dtype=float) for column in columns]
    x = np.asarray(at, dtype=float)
    x = x - x.mean()
    medians = np.array([np.median(v) for v in values])
    drawn = np.stack([_medians(v, _draws(len(v), seed + number)) for number, v in enumerate(values)], axis=1)
    return _interval(float(medians @ x / (x @ x)), drawn @ x / (x @ x), min(len(v) for v in values))


def floor_of(*runs: Iterable[Interval], comparisons: int = 1) -> Floor | None:
    """The noise floor that the A/A ratios of a run show; for a ratio between runs give those of each: their
    variances add.

    So wide that of so many `comparisons` of equal things not even one is beyond it in 95 of 100 runs
    (Bonferroni). None where a run has no A/A ratio: then nothing can be claimed.
    """
    logs = [[abs(math.log(interval.value)) for interval in run] for run in runs]
    if not all(logs):
        return None
    variances = [sum(x * x for x in run) / len(run) for run in logs]
    spread, farthest = math.sqrt(sum(variances)), math.hypot(*map(max, logs))
    # Welch and Satterthwaite: a run that is much the noisier has the say
    freedom = (
        spread**4 / sum(v * v / len(run) for v, run in zip(variances, logs, strict=True)) if spread else 1.0
    )
    return Floor(
        math.expm1(max(_student((1 - CONFIDENCE) / comparisons, round(freedom, 1)) * spread, farthest)),
        sum(map(len, logs)),
    )


@cache
def _student(share: float, freedom: float) -> float:
    """What |t| of Student's distribution exceeds with probability `share` (scipy.stats would take 9 s to
    import).

    With t = sqrt(freedom) tan(angle), the density over angles is cos(angle) ** (freedom - 1).
    """
    import numpy as np

    density = _cosines() ** (freedom - 1)
    beyond = np.cumsum(density[::-1])
    place = int(np.searchsorted(beyond, share * beyond[-1]))
    return math.sqrt(freedom) * math.tan(math.pi / 2 * (1 - (place + 0.5) / _STEPS))


@cache
def _cosines() -> Any:
    """The cosines at the middles of _STEPS equal parts of a right angle."""
    import numpy as np

    return np.cos((np.arange(_STEPS) + 0.5) * (math.pi / 2 / _STEPS))


def claim(interval: Interval, floor: Floor | None) -> int:
    """1 if the ratio is above 1 beyond the noise, -1 if below, else 0."""
    if floor is None or interval.blocks < MIN_BLOCKS:
        return 0
    if interval.low > 1 + floor.share:
        return 1
    return -1 if interval.high < 1 / (1 + floor.share) else 0
