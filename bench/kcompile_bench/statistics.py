"""Quantiles, and how far a ratio can be trusted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median

__all__ = ["quantile", "ratio"]


def quantile(values: Sequence[float], q: float) -> float:
    """The `q` quantile of `values`, which are sorted."""
    return values[min(len(values) - 1, int(q * len(values)))]


def ratio(
    blocks: Sequence[float], base: Sequence[float], resamples: int = 4000, seed: int = 1
) -> tuple[float, float, float]:
    """The median of `blocks` over that of `base`, with the ends of its 95% bootstrap interval.

    Both hold one figure a block, measured side by side: whole rounds are drawn, so that what slowed both
    cancels out.
    """
    rng = random.Random(seed)
    count = len(blocks)
    drawn = []
    for _ in range(resamples):
        rounds = rng.choices(range(count), k=count)
        drawn.append(median([blocks[i] for i in rounds]) / median([base[i] for i in rounds]))
    drawn.sort()
    return median(blocks) / median(base), quantile(drawn, 0.025), quantile(drawn, 0.975)
