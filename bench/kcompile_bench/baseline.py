"""The suites' last run against the committed one, by ratio: ``python -m kcompile_bench.baseline [--write]
[--limit 1.3]``

A benchmark's CPU seconds are divided by those of bench/baseline.json, and by the median of all such
quotients, which is how much slower this machine is today. What is beyond the limit is named, and the exit
status is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

__all__ = ["Ratio", "figures", "main", "ratios"]

BASELINE = Path(__file__).resolve().parents[1] / "baseline.json"
RESULTS = Path(__file__).resolve().parents[1] / "results"
LEAST_SECONDS = 0.001
"""Shorter ones are compared too, but never held against anybody."""


class Ratio(NamedTuple):
    """A benchmark; `value` is above 1 if it got slower, relative to all the others."""

    name: str
    seconds: float
    value: float


def figures(file: Path) -> dict[str, float]:
    """CPU seconds by ``stage, mode, scale``, from a file of pytest-benchmark."""
    found = {}
    for benchmark in json.loads(file.read_text())["benchmarks"]:
        info = benchmark["extra_info"]
        found[", ".join(filter(None, (info["stage"], info["mode"], info["scale"])))] = info["cpu_seconds"]
    return found


def ratios(new: dict[str, float], old: dict[str, float]) -> list[Ratio]:
    """Every benchmark in both, the one that slowed most first. Raises ValueError where there is none."""
    both = [name for name in new if old.get(name) and new[name]]
    if not both:
        raise ValueError("the two runs have no benchmark in common")
    usual = median(new[name] / old[name] for name in both)
    return sorted(
        (Ratio(name, new[name], new[name] / old[name] / usual) for name in both), key=lambda r: -r.value
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or --write the baseline; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.baseline", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS / "suites.json",
        metavar="FILE",
        help="what pytest-benchmark wrote",
    )
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE")
    parser.add_argument(
        "--limit", type=float, default=1.3, help="how much slower than the others is too slow (%(default)s)"
    )
    parser.add_argument("--write", action="store_true", help="make this run the baseline")
    options = parser.parse_args(arguments)
    new = figures(options.results)
    if options.write:
        rounded = {name: float(f"{seconds:.4g}") for name, seconds in sorted(new.items())}
        options.baseline.write_text(json.dumps(rounded, indent=1) + "\n")
        return 0
    found = ratios(new, json.loads(options.baseline.read_text()))
    slower = [r for r in found if r.value > options.limit and r.seconds >= LEAST_SECONDS]
    for ratio in slower or found[:3]:
        print(f"{ratio.value:5.2f}  {ratio.name}")
    compared = f"{len(found)} benchmarks against {options.baseline.name}"
    print(f"{compared}: {len(slower)} more than {options.limit:g} times slower than the others")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
