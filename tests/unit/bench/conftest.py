"""Results of a run that was never made: figures whose truth is known, in the form that a real one has."""

import functools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from kcompile_bench.kit.histogram import Histogram, bucket
from kcompile_bench.kit.measures import KINDS
from kcompile_bench.kit.profiles import narrowed, profile
from kcompile_bench.kit.results import FILE, Results
from kcompile_bench.kit.scenario import BASELINES, CONNTRACK, Condition, Plan

COST = {CONNTRACK: 1.1, "linear": 1.6, "iptables-legacy": 1.3, "iptables-nft": 1.35, "nftables": 1.25}
ENVIRONMENT = {
    "place": "a made-up place",
    "machine": {"cpu": "2 x made-up", "kernel": "6.1.0 made up"},
    "tools": {"nft": "1.0.6"},
    "command": "kcompile bench run --profile quick",
    "time": "2026-01-01T00:00:00Z",
    "load": "0.1 0.1 0.1",
    "ticks": {"all": 1000, "idle": 500, "stolen": 0},
}


def truth(condition: Condition, slowed: dict[str, float]) -> float:
    cost = 1.0 if condition.mode in BASELINES else COST[condition.mode]
    if condition.path.startswith("outside-nodeport"):
        cost *= 1.2
    return cost * slowed.get(condition.mode, 1.0)


def block(kind: str, factor: float, generator: random.Random, noise: float) -> dict:
    factor *= math.exp(generator.gauss(0, noise))
    values = {"p50": 20_000, "p99": 60_000, "rtt": 9_000, "kernel_p50": 15_000, "cpu": 90_000}
    figures = {
        name: values[name] * factor if name in values else 10_000 / factor for name in KINDS[kind].figures
    }
    figures |= {"lost": 0.1} if "lost" in figures else {}
    return {"figures": figures, "count": 50, "histogram": latencies(round(factor, 2))}


@functools.cache
def latencies(factor: float) -> list[int]:
    """A packed histogram of 50 connections; blocks of the same pace share one, for only their figures are
    judged.
    """
    generator = random.Random(factor)
    return Histogram(
        (bucket(int(20_000 * factor * generator.lognormvariate(0, 0.2))), 1) for _ in range(50)
    ).packed()


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Results]:
    """Write a result into a folder, and read it: ``made("name", slowed={"nftables": 1.3}, noise=0.02,
    rounds=None, end=True)``.
    """

    def make(
        name: str = "run",
        *,
        slowed: dict[str, float] | None = None,
        noise: float = 0.02,
        end: bool = True,
        keep: Callable[[str], bool] = bool,
        plan: Plan | None = None,
        environment: dict | None = None,
    ) -> Results:
        generator = random.Random(name)
        plan = plan or narrowed(profile("quick"), kinds=("connect", "crr", "rate", "control"))
        lines: list[dict] = []
        for group in plan.each_group():
            lines += [
                {"group": str(group), "mode": mode, "absent": f"no {mode} here"} for mode in ("ipvs", "xdp")
            ]
            lines += [
                {"group": str(group), "mode": mode, "ready": 0.5, "rules": "ab" * 32}
                for mode in (*BASELINES, *COST)
            ]
            for stage in plan.stages(group, list(COST)):
                for number in range(stage.measure.rounds):
                    drift = math.exp(generator.gauss(0, 0.1))
                    growth = 1 + 0.0003 * group.services
                    blocks = {}
                    for c in stage.conditions:
                        factor = truth(c, slowed or {}) * (growth if c.mode == "linear" else 1) * drift
                        blocks[str(c)] = block(stage.measure.kind, factor, generator, noise)
                    lines.append({"stage": stage.name, "round": number, "seconds": 0.1, "blocks": blocks})
        for services in plan.control_services:
            figures = {"cold": 0.4, "first": 0.3, "change": 0.2, "again": 0.1}
            lines.append(
                {
                    "control": services,
                    "round": 0,
                    "seconds": 1.0,
                    "modes": {mode: figures for mode in COST if mode != CONNTRACK},
                }
            )
        folder = tmp_path / name
        results = Results.start(folder, plan, environment or ENVIRONMENT)
        for line in lines:
            if keep(json.dumps(line)):
                results.write(line)
        if end:
            results.write(
                {
                    "end": {
                        "time": "2026-01-01T00:03:00Z",
                        "load": "1 1 1",
                        "ticks": {"all": 2000, "idle": 900, "stolen": 10},
                    }
                }
            )
        return Results.read(folder / FILE)

    return make
