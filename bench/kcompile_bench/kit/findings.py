"""A result in figures: medians, ratios to the baseline with their intervals, the noise floor of each stage,
and what may be claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from .cluster import ADDRESSES, OWN
from .histogram import Histogram
from .intervals import Floor, Interval, claim, floor_of, median_interval, ratio_of, slope_of
from .measures import KINDS
from .results import Results
from .scenario import AGAIN, NONE, PATHS, Condition, Group, Stage

__all__ = ["Cell", "Findings", "Slope", "StageFindings", "findings_of"]


_UNMEASURED = ("rtt", "lost")


class Cell(NamedTuple):
    """One figure of one condition.

    `ratio` is to the direct path without rules; `claimed` is 1 or -1 if it differs beyond the noise, else 0.
    """

    condition: Condition
    figure: str
    median: Interval
    ratio: Interval
    claimed: int


class Slope(NamedTuple):
    """The cost of each further Service to a connection, in ns: a line through `points` (Services, median ns
    with interval).
    """

    mode: str
    path: str
    per_service: Interval
    points: list[tuple[int, Interval]]


class StageFindings:
    """One stage: its columns of block figures, and everything computed from them."""

    def __init__(self, stage: Stage, rounds: dict[int, dict[str, dict[str, Any]]]) -> None:
        self.stage, self.kind = stage, KINDS[stage.measure.kind]
        self._rounds = [rounds[number] for number in sorted(rounds)]
        seen = self._rounds[0] if self._rounds else {}
        self.conditions = [c for c in stage.conditions if str(c) in seen]

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def rounds(self) -> int:
        return len(self._rounds)

    def blocks(self, condition: Condition) -> list[dict[str, Any]]:
        return [blocks[str(condition)] for blocks in self._rounds if str(condition) in blocks]

    def column(self, condition: Condition, figure: str) -> list[float | None]:
        """The figure of each round, None where the block has none."""
        key = str(condition)
        return [blocks.get(key, {}).get("figures", {}).get(figure) for blocks in self._rounds]

    def more(self, condition: Condition) -> list[float]:
        """By how much the median connect() of `condition` exceeds its baseline's, in ns, for each round with
        both.
        """
        columns = self.column(condition, "p50"), self.column(condition.base, "p50")
        return [a - b for a, b in zip(*columns, strict=True) if a and b]

    def histogram(self, condition: Condition) -> Histogram:
        """Every latency of `condition`, in ns."""
        merged = Histogram()
        for block in self.blocks(condition):
            merged.add_packed(block.get("histogram", ()))
        return merged

    @cached_property
    def floors(self) -> dict[str, Floor | None]:
        """The noise floor of each figure: the copies of the baseline against the baseline, over every direct
        path.

        Two have none: TCP_INFO's round trip, which comes in whole microseconds, and what was lost, which
        mostly is nothing.
        """
        return {
            f: floor_of(interval for _, interval in self.again(f)) if f not in _UNMEASURED else None
            for f in self.kind.figures
        }

    def again(self, figure: str) -> list[tuple[Condition, Interval]]:
        """The A/A ratios: copies of the baseline to the baseline."""
        copies = (c for c in self.conditions if c.mode in AGAIN)
        return [(c, ratio) for c in copies if (ratio := self.versus(c, c._replace(mode=NONE), figure))]

    def versus(self, condition: Condition, base: Condition, figure: str) -> Interval | None:
        """The ratio of two conditions of this stage; None where they have no round in common."""
        try:
            return ratio_of(self.column(condition, figure), self.column(base, figure))
        except ValueError:
            return None

    def differs(self, condition: Condition, base: Condition, figure: str) -> int:
        """`claim` on two conditions: 1, -1 or 0."""
        ratio = self.versus(condition, base, figure)
        return claim(ratio, self.floors[figure]) if ratio else 0

    @cached_property
    def cells(self) -> dict[tuple[Condition, str], Cell]:
        """Every condition and figure that has blocks to compare."""
        found = {}
        for condition in self.conditions:
            for figure in self.kind.figures:
                ratio = self.versus(condition, condition.base, figure)
                if ratio:
                    median = median_interval(self.column(condition, figure))
                    found[condition, figure] = Cell(
                        condition, figure, median, ratio, claim(ratio, self.floors[figure])
                    )
        return found

    def cell(self, mode: str, path: str, figure: str = "", position: str = "last") -> Cell | None:
        """The cell of a mode and path; `position` counts only where the path has one."""
        condition = Condition(mode, path, "" if PATHS[path].direct else position)
        return self.cells.get((condition, figure or self.kind.primary))

    def troubles(self) -> list[tuple[Condition, dict[str, Any]]]:
        """Conditions with failures, SYNs sent again, or blocks without figures."""
        found = []
        for condition in self.conditions:
            blocks = self.blocks(condition)
            counts = {
                name: sum(b.get(name, 0) for b in blocks) for name in ("failures", "retransmits", "count")
            }
            empty = sum(not b["figures"] for b in blocks)
            if counts["failures"] or counts["retransmits"] or empty:
                errors = sorted({b["error"] for b in blocks if b.get("error")})
                found.append((condition, {**counts, "blocks without figures": empty, "errors": errors}))
        return found


class Findings:
    """A whole result. `others`: results of other kernels to show beside it."""

    def __init__(self, results: Results, others: Sequence[Findings] = ()) -> None:
        self.results, self.plan, self.others = results, results.plan, list(others)
        self.stages: dict[str, StageFindings] = {}
        for group in self.plan.each_group():
            for stage in self.plan.stages(group, results.modes(str(group))):
                if rounds := results.rounds.get(stage.name):
                    self.stages[stage.name] = StageFindings(stage, rounds)

    @cached_property
    def answers(self) -> list[Any]:
        """One-sentence answers (answers.py)."""
        from .answers import answers_of

        return answers_of(self)

    @property
    def largest(self) -> Group:
        """The group that most answers are about."""
        return max(self.plan.each_group(), key=lambda g: (g.services, -g.endpoints))

    def of_kind(self, kind: str, group: Group | None = None) -> list[StageFindings]:
        return [
            s for s in self.stages.values() if s.stage.measure.kind == kind and group in (None, s.stage.group)
        ]

    def main(self, kind: str) -> StageFindings | None:
        """The stage of `kind` in the largest group; the first where there are several."""
        return next(iter(self.of_kind(kind, self.largest)), None)

    @property
    def modes(self) -> list[str]:
        """The modes that were measured in any group."""
        groups = [str(group) for group in self.plan.each_group()]
        return [
            mode
            for mode in self.plan.modes
            if any((group, mode) not in self.results.absent_modes for group in groups)
        ]

    @property
    def absent(self) -> dict[str, str]:
        """The modes that were asked for and couldn't be measured, with the reasons."""
        found: dict[str, str] = {}
        for (group, mode), why in self.results.absent_modes.items():
            found.setdefault(mode, why if mode not in self.modes else f"with {group}: {why}")
        return found

    @property
    def wiring(self) -> dict[str, str]:
        """The addresses by role (cluster.wiring)."""
        wiring: dict[str, str] = self.results.environment.get("wiring", {**ADDRESSES, "clusters": OWN})
        return wiring

    @property
    def complete(self) -> bool:
        return self.results.end is not None

    def slopes(self, path: str, position: str = "last") -> list[Slope]:
        """What each Service more costs, by mode: connect() over the groups that differ in nothing else.

        The line goes through what a connection takes longer than the baseline's of its round, since groups
        run at different times.
        """
        endpoints = self.largest.endpoints
        stages = sorted(
            (s for s in self.of_kind("connect") if s.stage.group.endpoints == endpoints),
            key=lambda s: s.stage.group.services,
        )
        conditions = [Condition(mode, PATHS[path].base, "") for mode in (NONE, *AGAIN)]
        conditions += [Condition(mode, path, position) for mode in self.modes]
        found = []
        for condition in conditions:
            columns = {s: more for s in stages if condition in s.conditions and (more := s.more(condition))}
            if len(columns) > 1:
                at = [s.stage.group.services for s in columns]
                points = [
                    (s.stage.group.services, median_interval(s.column(condition, "p50"))) for s in columns
                ]
                found.append(
                    Slope(condition.mode, condition.path, slope_of(at, list(columns.values())), points)
                )
        return found

    def control(self, services: int, mode: str, figure: str) -> Interval | None:
        """Seconds of one figure of the control plane."""
        rounds = self.results.control.get(services, {})
        values = [modes[mode].get(figure) for modes in rounds.values() if mode in modes]
        try:
            return median_interval(values)
        except ValueError:
            return None

    def controlled(self) -> list[tuple[int, Sequence[str]]]:
        """Numbers of Services with the modes whose rules were put in."""
        found = []
        for services, rounds in sorted(self.results.control.items()):
            modes = dict.fromkeys(mode for modes in rounds.values() for mode in modes)
            found.append((services, [mode for mode in self.plan.modes if mode in modes]))
        return found


def findings_of(results: Results, *others: Results) -> Findings:
    """The findings of `results` and of the results to show beside it."""
    return Findings(results, [Findings(other) for other in others])
