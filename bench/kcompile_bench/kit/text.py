"""The report as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec

from . import tables
from .findings import Findings
from .intervals import Interval
from .page import rerun, summary
from .tables import Table

__all__ = ["as_csv", "as_json", "markdown"]


def _table(table: Table, level: int = 3) -> str:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"

    rule = line([" --- " if i < table.numbers else " ---: " for i in range(len(table.header))]).replace(
        "  ", " "
    )
    body = "\n".join([line(table.header), rule, *(line(row) for row in table.rows)]) if table.rows else ""
    return "\n\n".join(part for part in (f"{'#' * level} {table.title}", body, table.note) if part)


def markdown(findings: Findings) -> str:
    """Everything but the pictures."""
    parts = ["# NodePort against ClusterIP against the pod's own IP", summary(findings)]
    if not findings.complete:
        parts.append("This run is not complete: the same command goes on with it.")
    parts.append("## Answers")
    for answer in findings.answers:
        parts += [
            f"**{answer.question}** {answer.text}",
            "\n".join(f"- {name}: {said}" for name, said in answer.details),
        ]
    parts.append(_table(tables.modes(findings), 2))
    if other := tables.beside(findings, findings.others):
        parts.append(_table(other, 2))
    parts.append("## All figures")
    parts += [_table(tables.stage_table(stage)) for stage in findings.stages.values()]
    parts += [_table(table, 2) for table in tables.sync(findings)]
    parts.append(_table(tables.noise(findings), 2))
    if check := tables.crosscheck(findings):
        parts.append(_table(check))
    parts.append(_table(tables.failures(findings), 2))
    parts.append("## What this does not show")
    parts.append("\n".join(f"- {limit}" for limit in tables.limits(findings)))
    parts.append("## The machine")
    parts += [_table(table) for table in tables.environment(findings)]
    parts.append("## How to run it again")
    parts.append("\n".join(["```", *rerun(findings), "```"]))
    return "\n\n".join(parts) + "\n"


_COLUMNS = (
    "services",
    "endpoints",
    "measure",
    "mode",
    "path",
    "position",
    "figure",
    "median",
    "median low",
    "median high",
    "ratio",
    "ratio low",
    "ratio high",
    "blocks",
    "noise floor",
    "claimed",
)


def as_csv(findings: Findings) -> str:
    """A line a figure of a condition; times in ns, rates a second, Mb/s, shares. `claimed` is 1, -1 or 0."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for stage in findings.stages.values():
        for (condition, figure), cell in stage.cells.items():
            floor = stage.floors[figure]
            noise = f"{floor.share:.6g}" if floor else ""
            intervals = [f"{x:.6g}" for interval in (cell.median, cell.ratio) for x in interval[:3]]
            writer.writerow(
                [
                    *stage.stage.group,
                    stage.stage.measure.title,
                    *condition,
                    figure,
                    *intervals,
                    cell.ratio.blocks,
                    noise,
                    cell.claimed,
                ]
            )
    return out.getvalue()


def as_json(findings: Findings) -> str:
    """Everything, with the block figures behind the intervals."""
    results = findings.results
    stages = []
    for stage in findings.stages.values():
        conditions = []
        for condition in stage.conditions:
            figures = {}
            for figure in stage.kind.figures:
                if cell := stage.cells.get((condition, figure)):
                    columns = stage.column(condition, figure)
                    figures[figure] = {
                        "median": _interval(cell.median),
                        "ratio": _interval(cell.ratio),
                        "claimed": cell.claimed,
                        "blocks": columns,
                    }
            conditions.append({**condition._asdict(), "figures": figures})
        floors = {figure: floor._asdict() if floor else None for figure, floor in stage.floors.items()}
        stages.append({"stage": stage.name, "noise": floors, "conditions": conditions})
    data: dict[str, Any] = {
        "plan": msgspec.to_builtins(findings.plan),
        "environment": results.environment,
        "complete": findings.complete,
        "absent": findings.absent,
        "absent measures": results.absent_stages,
        "answers": [answer._asdict() for answer in findings.answers],
        "stages": stages,
        "control": {str(services): rounds for services, rounds in results.control.items()},
        "not shown": tables.limits(findings),
    }
    return json.dumps(data, indent=1) + "\n"


def _interval(interval: Interval) -> list[float]:
    return [float(f"{x:.6g}") for x in interval[:3]]
