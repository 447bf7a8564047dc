"""The report's charts, each from a result's findings: (title, what it shows, SVG)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from . import control
from .findings import Findings, StageFindings
from .histogram import Histogram
from .scenario import AGAIN, BASELINES, NONE, PATHS, Condition
from .svg import Axis, Chart, Point, Row, Series, forest
from .words import percent, ratio_text, seconds, services_text

__all__ = ["Figure", "colour", "figures_of", "in_short"]

_MAIN_PATHS = (
    "pod-direct",
    "pod-clusterip",
    "far-clusterip",
    "outside-nodeport",
    "outside-nodeport-far",
    "pod-nodeport",
    "node-clusterip",
    "hairpin",
)

_WIDE = 3
_ASKED_PATHS = ("pod-clusterip", "outside-nodeport", "outside-nodeport-far")


class Figure(NamedTuple):
    """A chart; `text` is its caption: the figures shown and their origin."""

    title: str
    text: str
    svg: str


def colour(mode: str) -> str:
    """The CSS class of `mode`'s colour."""
    return "m-none" if mode in BASELINES else f"m-{mode}"


def figures_of(findings: Findings) -> list[Figure]:
    """Every chart that the result has figures for."""
    makers = (_ratios, _growth, _ecdf, _tail, _rates, _capacity, _sync)
    return [figure for maker in makers for figure in maker(findings)]


def in_short(findings: Findings) -> Figure | None:
    """The chart for the whole result: the three most common paths."""
    return next(_ratios(findings, _ASKED_PATHS), None)


def _ratios(findings: Findings, paths: Sequence[str] = _MAIN_PATHS) -> Iterator[Figure]:
    stage = findings.main("connect")
    if not stage:
        return
    rows: list[Row] = []
    for path in paths:
        cells = [cell for mode in findings.modes if (cell := stage.cell(mode, path, "p50"))]
        if cells:
            rows.append(Row(PATHS[path].title))
        for cell in cells:
            r = cell.ratio
            rows.append(
                Row(
                    _short(cell.condition.mode),
                    colour(cell.condition.mode),
                    *r[:3],
                    ratio_text(r),
                    bool(cell.claimed),
                )
            )
    floor = stage.floors["p50"]
    noise = f" ({percent(floor.share)}, shaded)" if floor else ""
    values = [row.value for row in rows if row.value]
    if values:
        # where values lie far apart, a linear scale would hide differences between the small ones
        wide = max(values) / min(values) > _WIDE
        label = f"connect(), times the direct path without rules{' (logarithmic)' * wide}"
        services = services_text(stage.stage.group.services)
        text = (
            f"Medians of {stage.rounds} blocks with 95% intervals, {services}. 1 is the same client "
            f"straight to the pod's IP on nodes without rules. Hollow: within the noise{noise}."
        )
        shaded = floor.share if floor else None
        drawing = forest("Time to connect by path and mode", label, rows, 1.0, shaded, log=wide)
        yield Figure("Time to connect, times the direct path without rules", text, drawing)


def _short(mode: str) -> str:
    return {"linear": "kube-proxy's list", "conntrack": "one NAT rule", NONE: "no rules"}.get(mode, mode)


def _growth(findings: Findings) -> Iterator[Figure]:
    slopes = findings.slopes("pod-clusterip")
    if not slopes:
        return
    slopes = [s for s in slopes if s.mode not in AGAIN]
    points = [p for s in slopes for p in s.points]
    low, high = min(n for n, _ in points), max(n for n, _ in points)
    top = max(i.high for _, i in points) / 1000
    ticks = [(float(n), f"{n:,}") for n in sorted({n for n, _ in points})]
    chart = Chart(
        "Time to connect by number of Services",
        Axis("Services (logarithmic)", low * 0.8, high * 1.25, log=True, ticks=ticks),
        Axis("connect(), median, \u00b5s", 0, top * 1.08),
    )
    fitted = []
    for number, slope in enumerate(slopes):
        line = [Point(n, i.value / 1000, i.low / 1000, i.high / 1000) for n, i in slope.points]
        chart.add(Series(_short(slope.mode), colour(slope.mode), line), offset=(number - len(slopes) / 2) * 3)
        if slope.mode != NONE and slope.path == "pod-clusterip":
            per = slope.per_service
            fitted.append(f"{_short(slope.mode)} {per.value:.2f} ({per.low:.2f} to {per.high:.2f})")
    text = (
        "Pod to ClusterIP of the last Service (no rules: to the pod's IP). "
        f"Fitted line, ns for each Service more: {'; '.join(fitted)}."
    )
    yield Figure("Time to connect against the number of Services", text, chart.svg())


def _latencies(stage: StageFindings, findings: Findings, path: str) -> Iterator[tuple[str, Histogram]]:
    for mode, way, position in ((NONE, PATHS[path].base, ""), *((m, path, "last") for m in findings.modes)):
        histogram = stage.histogram(Condition(mode, way, position))
        if histogram.total:
            yield mode, histogram


def _ecdf(findings: Findings) -> Iterator[Figure]:
    stage = findings.main("connect")
    found = list(_latencies(stage, findings, "pod-clusterip")) if stage else []
    if not stage or not found:
        return
    low = min(h.quantile(0.001) for _, h in found) / 1000
    high = max(h.quantile(0.95) for _, h in found) / 1000
    chart = Chart(
        "Distribution of the time to connect",
        Axis("connect(), \u00b5s (logarithmic)", low * 0.95, high * 1.1, log=True),
        Axis("share of connections", 0, 1, ticks=[(q / 4, f"{25 * q}%") for q in range(5)]),
    )
    for mode, histogram in found:
        curve = [Point(ns / 1000, share) for ns, share in histogram.curve() if ns / 1000 <= high * 1.1]
        chart.add(Series(_short(mode), colour(mode), curve, marks=False))
    count = min(h.total for _, h in found)
    services = services_text(stage.stage.group.services)
    each = f"at least {count:,} connections each"
    text = f"Pod to ClusterIP of the last of {services}, {each}: how many took no longer."
    yield Figure("Distribution", text, chart.svg())


def _tail(findings: Findings) -> Iterator[Figure]:
    stage = findings.main("connect")
    found = list(_latencies(stage, findings, "pod-clusterip")) if stage else []
    if not found:
        return
    deepest = max(10 / min(h.total for _, h in found), 1e-4)
    quantiles = [0.5 * (deepest / 0.5) ** (i / 40) for i in range(41)]
    low = min(h.quantile(0.5) for _, h in found) / 1000
    high = max(h.quantile(1 - deepest) for _, h in found) / 1000
    ticks = [
        (q, t)
        for q, t in ((0.5, "50%"), (0.1, "10%"), (0.01, "1%"), (0.001, "0.1%"), (0.0001, "0.01%"))
        if q >= deepest * 0.99
    ]
    chart = Chart(
        "The slowest connections",
        Axis("connect(), \u00b5s (logarithmic)", low * 0.95, high * 1.1, log=True),
        Axis("share that took longer", deepest, 0.5, log=True, ticks=ticks),
    )
    for mode, histogram in found:
        chart.add(
            Series(
                _short(mode),
                colour(mode),
                [Point(histogram.quantile(1 - q) / 1000, q) for q in quantiles],
                marks=False,
            )
        )
    yield Figure(
        "The slowest connections",
        "The same connections from the other end: how many took longer. Where a line ends ten were left.",
        chart.svg(),
    )


def _rates(findings: Findings) -> Iterator[Figure]:
    for keepalive, what in ((False, "a new connection each"), (True, "connections that stay open")):
        stages = sorted(
            (s for s in findings.of_kind("rate") if s.stage.measure.keepalive is keepalive),
            key=lambda s: s.stage.measure.rate,
        )
        stages = [s for s in stages if s.stage.group == findings.largest]
        lines: dict[str, list[Point]] = {}
        for stage in stages:
            for mode, path in ((NONE, "pod-direct"), *((m, "pod-clusterip") for m in findings.modes)):
                if cell := stage.cell(mode, path, "p99"):
                    m = cell.median
                    rate = stage.stage.measure.rate
                    lines.setdefault(mode, []).append(
                        Point(rate, m.value / 1000, m.low / 1000, m.high / 1000)
                    )
        if len(stages) < 2 or not lines:
            continue
        points = [p for line in lines.values() for p in line]
        rates = [float(s.stage.measure.rate) for s in stages]
        low, high = min(p.low or p.y for p in points), max(p.high or p.y for p in points)
        chart = Chart(
            f"99th percentile by rate, {what}",
            Axis("requests a second", 0, rates[-1] * 1.1, ticks=[(r, f"{r:,.0f}") for r in rates]),
            Axis("99th percentile, \u00b5s (logarithmic)", low * 0.8, high * 1.25, log=True),
        )
        for number, (mode, line) in enumerate(lines.items()):
            chart.add(Series(_short(mode), colour(mode), line), offset=(number - len(lines) / 2) * 3)
        floor = max((s.floors["p99"].share for s in stages if s.floors["p99"]), default=None)
        noise = f" Noise up to {percent(floor)}." if floor is not None else ""
        text = (
            f"Open loop, {what}, pod to ClusterIP (no rules: to the pod's IP): "
            f"a request's time counts from when it was due.{noise}"
        )
        yield Figure(f"Latency against rate: {what}", text, chart.svg())


def _capacity(findings: Findings) -> Iterator[Figure]:
    rows: list[Row] = []
    for kind, title in (
        ("crr", "new connections, each with a request"),
        ("rr", "requests on an open connection"),
        ("stream", "bulk data, TCP"),
    ):
        stage = findings.main(kind)
        if not stage:
            continue
        figure = stage.kind.primary
        floor = stage.floors[figure]
        rows.append(Row(f"{title} (noise {percent(floor.share)})" if floor else title))
        for mode in findings.modes:
            cell = stage.cell(mode, "pod-clusterip", figure)
            if cell:
                r = cell.ratio
                rows.append(Row(_short(mode), colour(mode), *r[:3], ratio_text(r), bool(cell.claimed)))
    if any(row.value is not None for row in rows):
        text = (
            "As fast as it goes, pod to ClusterIP, times the direct path without rules: more is better. "
            "Hollow: within the noise."
        )
        title = "How much gets through"
        yield Figure(title, text, forest(title, "times the direct path", rows, 1.0))


def _sync(findings: Findings) -> Iterator[Figure]:
    for services, modes in findings.controlled()[-1:]:
        rows: list[Row] = []
        for figure, title in control.FIGURES.items():
            measured = [(mode, findings.control(services, mode, figure)) for mode in modes]
            found = [(mode, interval) for mode, interval in measured if interval]
            if found:
                rows.append(Row(title))
            for mode, i in found:
                rows.append(Row(_short(mode), colour(mode), i.value, i.low, i.high, seconds(i.value)))
        if rows:
            text = (
                f"The whole command, with {services_text(services)}. "
                "kube-proxy's list is text made beforehand, only loaded here."
            )
            drawing = forest("Sync times", "seconds (logarithmic)", rows, None, log=True)
            yield Figure("Rules put in and changed", text, drawing)
