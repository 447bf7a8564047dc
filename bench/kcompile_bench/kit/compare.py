"""Two results side by side: first what differs between the machines, then what differs in the figures, beyond
the noise of both.

The exit status is one verdict on many figures, so the floor is as wide as their number asks for: of two runs
of the same thing, 95 of 100 pairs show no difference anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .findings import StageFindings, findings_of
from .intervals import Floor, Interval, claim, floor_of, ratio_of_ratios
from .record import differences
from .results import Results
from .scenario import BASELINES, Condition
from .words import FIGURES, mode_text, percent, ratio_text, where, worse

__all__ = ["Comparison", "Difference", "compare"]


class Difference(NamedTuple):
    """How a figure's ratio to its run's baseline changed: `ratio` above 1 where it grew.

    `verdict`: worse, better or empty.
    """

    stage: str
    condition: Condition
    figure: str
    ratio: Interval
    floor: Floor | None
    verdict: str

    def __str__(self) -> str:
        noise = f"noise {percent(self.floor.share)}" if self.floor else "no noise floor"
        what = (
            f"{self.stage}: {mode_text(self.condition.mode)}, {where(self.condition)}, {FIGURES[self.figure]}"
        )
        return f"{self.verdict or 'same':6} {ratio_text(self.ratio)}  {what} ({noise})"


class Comparison(NamedTuple):
    """`environment`: (name, old, new). `missing`: stages and modes that only one of the two has."""

    environment: list[tuple[str, str, str]]
    found: list[Difference]
    missing: list[str]

    @property
    def regressions(self) -> list[Difference]:
        return [d for d in self.found if d.verdict == "worse"]

    def lines(self) -> Iterator[str]:
        """Lines for people: environments, changes, then the number of figures compared."""
        if self.environment:
            yield "The machines differ:"
            yield from (
                f"  {name}: {old or 'none'} -> {new or 'none'}" for name, old, new in self.environment
            )
        else:
            yield "The machines agree in everything that is recorded."
        yield from (f"only in one of them: {what}" for what in self.missing)
        changed = [d for d in self.found if d.verdict]
        yield from (str(d) for d in sorted(changed, key=lambda d: d.verdict, reverse=True))
        bad, all_in_all = len(self.regressions), len(self.found)
        counts = f"{bad} worse, {len(changed) - bad} better, {all_in_all - len(changed)} within the noise"
        yield f"{all_in_all} figures compared: {counts}."


def compare(old: Results, new: Results) -> Comparison:
    """How `new` differs from `old`, in every condition and primary figure that both have."""
    before, after = findings_of(old), findings_of(new)
    pairs = [(before.stages[name], stage) for name, stage in after.stages.items() if name in before.stages]
    comparisons = sum(len(_conditions(*pair)) for pair in pairs)
    titles = dict.fromkeys(_title(stage) for _, stage in pairs)
    floors = {title: _floor(title, pairs, comparisons) for title in titles}
    found: list[Difference] = []
    for old_stage, new_stage in pairs:
        found += _stage(old_stage, new_stage, floors[_title(new_stage)])
    missing = sorted(set(before.stages) ^ set(after.stages))
    missing += [f"mode {mode}" for mode in sorted(set(before.modes) ^ set(after.modes))]
    return Comparison(differences(old.environment, new.environment), found, missing)


def _conditions(old: StageFindings, new: StageFindings) -> list[Condition]:
    """The conditions that both stages have, without the baselines."""
    return [c for c in new.conditions if c.mode not in BASELINES and c in old.conditions]


def _title(stage: StageFindings) -> str:
    return stage.stage.measure.title


def _floor(
    title: str, pairs: Sequence[tuple[StageFindings, StageFindings]], comparisons: int
) -> Floor | None:
    """Noise floor of the measure `title`, pooled over all group sizes: more A/A samples."""
    of_title = [pair for pair in pairs if _title(pair[1]) == title]
    old = [ratio for stage, _ in of_title for ratio in _same_again(stage)]
    new = [ratio for _, stage in of_title for ratio in _same_again(stage)]
    return floor_of(old, new, comparisons=comparisons)


def _same_again(stage: StageFindings) -> list[Interval]:
    """The A/A ratios: of copies of the baseline to the baseline."""
    return [ratio for _, ratio in stage.again(stage.kind.primary)]


def _stage(old: StageFindings, new: StageFindings, floor: Floor | None) -> Iterator[Difference]:
    figure = new.kind.primary
    for condition in _conditions(old, new):
        columns = [(s.column(condition, figure), s.column(condition.base, figure)) for s in (new, old)]
        try:
            ratio = ratio_of_ratios(columns[0], columns[1])
        except ValueError:
            continue
        said = claim(ratio, floor)
        verdict = "" if not said else "worse" if worse(figure, said) else "better"
        yield Difference(new.name, condition, figure, ratio, floor, verdict)
