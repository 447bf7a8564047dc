"""The report's tables, the same in every format: headings and rows of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

from . import control
from .cluster import SHARED
from .findings import Cell, Findings, StageFindings
from .intervals import MIN_BLOCKS, Interval
from .scenario import BASELINES, PATHS
from .words import (
    FIGURES,
    figure_text,
    mode_text,
    percent,
    place_text,
    ratio_text,
    seconds,
    services_text,
    where,
)

__all__ = [
    "Table",
    "beside",
    "crosscheck",
    "environment",
    "failures",
    "limits",
    "modes",
    "noise",
    "stage_table",
    "sync",
]

_NAMESPACES = (
    "Namespaces on one machine: no network card, no cable, no other traffic. A hop costs less than on a "
    "network, so that a ratio to the direct path is larger than it would be there."
)
_LIMITS = (
    "Microseconds belong to this machine and this hour. Ratios carry further, within one run on one kernel.",
    (
        "One client at a time on one processor. "
        "Contention between processors, hardware offloads and real network cards aren't in it."
    ),
    "The node runs nothing else: caches are warmer than on a busy node.",
    (
        "IPv4 and TCP, except where UDP is named. "
        "externalTrafficPolicy is Cluster: a NodePort on another node is answered through it."
    ),
    (
        "Where a ratio is within the noise, the truth may still be a small difference: "
        "more rounds on a quieter machine would tell."
    ),
    "Each figure is judged by itself: among hundreds that are equal in truth, a few may be said to differ.",
)
_LINEAR = (
    "kube-proxy's list is its rules, loaded by iptables-restore; "
    "kube-proxy itself, its watches and its own computing weren't run."
)
_TURNS = (
    "Modes took turns on the same machines, within each round: the first connections after a change of rules "
    "may find caches cold, and what one mode leaves in the kernel's tables is there for the next."
)


class Table(NamedTuple):
    """`numbers`: the index of the first right-aligned column."""

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""
    numbers: int = 1


def limits(findings: Findings) -> list[str]:
    """The limits of the result."""
    shared, hosts = (
        findings.wiring.get("clusters") == SHARED,
        findings.results.environment["place"].startswith("hosts"),
    )
    return [
        *([] if hosts else [_NAMESPACES]),
        *_LIMITS,
        *([_LINEAR] if "linear" in findings.modes else []),
        *([_TURNS] if shared else []),
    ]


def modes(findings: Findings) -> Table:
    """The modes that were asked for, and whether they were available."""
    absent = findings.absent
    rows = []
    for mode in findings.plan.modes:
        if mode in findings.modes:
            rows.append([mode_text(mode), "measured" + (f" (but {absent[mode]})" if mode in absent else "")])
        else:
            rows.append([mode_text(mode), f"not here: {absent.get(mode, 'not reached')}"])
    rows += [[f"measure: {name}", f"not here: {why}"] for name, why in findings.results.absent_stages.items()]
    return Table("What was measured", ["mode", "on this machine"], rows, numbers=9)


def stage_table(stage: StageFindings) -> Table:
    """Every condition of a stage: its figures, and the ratio of each."""
    figures = stage.kind.figures
    header = ["rules", "way"]
    for figure in figures:
        header += [FIGURES[figure], "ratio (95%)"]
    rows = []
    for condition in stage.conditions:
        if condition.mode in BASELINES[1:]:
            continue
        row = [mode_text(condition.mode), where(condition, len(stage.stage.measure.positions) > 1)]
        for figure in figures:
            cell = stage.cells.get((condition, figure))
            if cell is None:
                found = [value for value in stage.column(condition, figure) if value]
                row += [figure_text(figure, median(found)), "no direct way"] if found else ["none", ""]
            elif condition == condition.base:
                row += [figure_text(figure, cell.median.value), "1"]
            else:
                row += [
                    figure_text(figure, cell.median.value),
                    ratio_text(cell.ratio) + (" *" if cell.claimed else ""),
                ]
        rows.append(row)
    floors = [f"{FIGURES[f]} {percent(floor.share)}" for f, floor in stage.floors.items() if floor]
    note = (
        f"{stage.rounds} blocks each. * differs by more than the noise ({', '.join(floors)})."
        if floors
        else f"{stage.rounds} blocks each."
    )
    return Table(_stage_title(stage), header, rows, note, numbers=2)


_KINDS = {
    "connect": "connect()",
    "handshake": "Handshake in the kernel and connect()",
    "crr": "Connect, request, answer, close",
    "rr": "Requests on connections that stay open",
    "rate": "Requests at a fixed rate",
    "stream": "Bulk data over TCP (iperf3)",
    "udp": "Bulk data over UDP (iperf3)",
    "wrk": "HTTP (wrk)",
    "sockperf": "TCP ping-pong (sockperf)",
}


def _stage_title(stage: StageFindings) -> str:
    measure, group = stage.stage.measure, stage.stage.group
    rest = measure.title.removeprefix(measure.kind).strip()
    of = f"{services_text(group.services)} of {group.endpoints} endpoint{'s' * (group.endpoints > 1)}"
    return f"{_KINDS[measure.kind]}{f', {rest}' if rest else ''}: {of}"


def beside(findings: Findings, others: Sequence[Findings]) -> Table | None:
    """Ratios of the same paths and modes in other runs, on other kernels; only ratios can be compared."""
    runs = [(f, stage) for f in (findings, *others) if (stage := f.main("connect"))]
    if not others or len(runs) < 2:
        return None
    conditions = [condition for _, stage in runs for condition in stage.conditions]
    wanted = dict.fromkeys((c.mode, c.path) for c in conditions if c.mode not in BASELINES)
    rows = []
    for mode, path in sorted(wanted, key=lambda pair: list(PATHS).index(pair[1])):
        cells = [stage.cell(mode, path, "p50") for _, stage in runs]
        if any(cells):
            there = [mode in run.modes for run, _ in runs]
            rows.append([mode_text(mode), PATHS[path].title, *map(_beside, cells, there)])
    titles = []
    for run, stage in runs:
        titles.append(f"{place_text(run.results.environment)}, {services_text(stage.stage.group.services)}")
    note = (
        "connect(), median, times the direct path without rules in the same run. "
        "* differs by more than that run's noise."
    )
    return Table("Beside other kernels", ["rules", "way", *titles], rows, note, numbers=2)


def _beside(cell: Cell | None, there: bool) -> str:
    if cell is None:
        return "not measured" if there else "not here"
    return f"{ratio_text(cell.ratio)}{' *' if cell.claimed else ''}"


def noise(findings: Findings) -> Table:
    """The A/A run: by how much identical setups differ."""
    rows = []
    for stage in findings.stages.values():
        for figure, floor in stage.floors.items():
            if floor:
                apart = max((abs(i.value - 1) for _, i in stage.again(figure)), default=0.0)
                rows.append(
                    [
                        _stage_title(stage),
                        FIGURES[figure],
                        str(floor.pairs),
                        percent(apart),
                        percent(floor.share),
                    ]
                )
    note = (
        "Copies of the clusters without rules against the first of them. "
        "A difference below the floor is never claimed."
    )
    return Table(
        "Noise", ["measure", "figure", "A/A pairs", "farthest apart", "floor"], rows, note, numbers=2
    )


def failures(findings: Findings) -> Table:
    """Every failure in a block."""
    rows = []
    for stage in findings.stages.values():
        for condition, t in stage.troubles():
            counts = [str(t[name]) for name in ("failures", "retransmits", "blocks without figures")]
            rows.append(
                [
                    _stage_title(stage),
                    f"{mode_text(condition.mode)}: {where(condition)}",
                    *counts,
                    "; ".join(t["errors"])[:160],
                ]
            )
    for services, rounds in findings.results.control.items():
        what = f"rules for {services_text(services)}"
        for by_mode in rounds.values():
            for mode, found in by_mode.items():
                if "error" in found:
                    rows.append([what, mode_text(mode), "1", "", "", found["error"]])
    note = "" if rows else "No connection failed, no SYN was sent again, and no block was without figures."
    header = ["measure", "where", "failed or unanswered", "SYNs sent again", "blocks without figures", "said"]
    return Table("Failures", header, rows, note, numbers=2)


def _time(interval: Interval) -> str:
    return seconds(interval.value) + (
        f" ({seconds(interval.low)}\u2013{seconds(interval.high)})" if interval.blocks > 1 else ""
    )


def sync(findings: Findings) -> Iterator[Table]:
    """The times to apply and change rules, a table for each number of Services."""
    for services, names in findings.controlled():
        rows = []
        for mode in names:
            cells = [findings.control(services, mode, figure) for figure in control.FIGURES]
            rows.append([mode_text(mode), *(_time(c) if c else "" for c in cells)])
        rounds = len(findings.results.control[services])
        note = (
            f"{rounds} round{'s' * (rounds > 1)}: a look, too few for a claim."
            if rounds < MIN_BLOCKS
            else "Medians with 95% intervals."
        )
        yield Table(
            f"Rules put in and changed: {services_text(services)}",
            ["rules", *control.FIGURES.values()],
            rows,
            note,
        )


def crosscheck(findings: Findings) -> Table | None:
    """connect() by the wall clock, the kernel's own handshake, and TCP_INFO, of the same connections."""
    rows = []
    for stage in findings.of_kind("handshake"):
        for condition in stage.conditions:
            found = {figure: stage.cells.get((condition, figure)) for figure in ("p50", "kernel_p50", "rtt")}
            if condition.mode in BASELINES[1:] or not (found["p50"] and found["kernel_p50"]):
                continue
            outside = found["p50"].median.value - found["kernel_p50"].median.value
            cells = [figure_text(f, c.median.value) if c else "" for f, c in found.items()]
            rows.append([mode_text(condition.mode), where(condition), *cells, figure_text("p50", outside)])
    if not rows:
        return None
    note = (
        "The kernel's time runs from SYN_SENT to ESTABLISHED (tracepoint sock:inet_sock_set_state); "
        "TCP_INFO's from the SYN to its answer."
    )
    header = ["rules", "way", "connect() by the clock", "in the kernel", "TCP_INFO", "clock less kernel"]
    return Table("Three clocks on the same connections", header, rows, note, numbers=2)


def environment(findings: Findings) -> list[Table]:
    """The record of the machine, and its load."""
    record = findings.results.environment
    tables = []
    for name, values in record.items():
        if isinstance(values, dict) and name != "ticks":
            tables.append(
                Table(name, ["", ""], [[key, str(value)] for key, value in values.items()], numbers=9)
            )
    general = {key: str(record[key]) for key in ("place", "command", "time", "load")}
    if findings.results.end:
        general |= {
            "load at the end": findings.results.end["load"],
            **_ticks(record["ticks"], findings.results.end["ticks"]),
        }
    general["starts"] = str(findings.results.starts)
    general["complete"] = (
        "yes" if findings.complete else "no: this is what was there when the report was made"
    )
    digests = {
        f"{mode}, {group}": ready["rules"][:16]
        for (group, mode), ready in findings.results.ready.items()
        if ready["rules"]
    }
    rules = Table(
        "what the rules were made from (SHA-256)", ["", ""], [[k, v] for k, v in digests.items()], numbers=9
    )
    return [Table("run", ["", ""], [[k, v] for k, v in general.items()], numbers=9), *tables, rules]


def _ticks(before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
    spent = after["all"] - before["all"]
    if spent <= 0:
        return {}
    return {
        name: percent((after[key] - before[key]) / spent)
        for name, key in (("processors idle", "idle"), ("stolen by the host", "stolen"))
    }
