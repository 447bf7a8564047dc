"""The questions of someone who chooses a mode, each answered in one sentence that claims no more than the
noise allows.

`details` are the figures of the sentence, mode by mode.
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from .findings import Cell, Findings, StageFindings
from .intervals import MIN_BLOCKS, Interval
from .measures import LOWER
from .scenario import AGAIN, BASELINES, CONNTRACK, PATHS, Condition
from .words import (
    and_list,
    figure_text,
    mode_text,
    percent,
    place_text,
    ratio_text,
    seconds,
    services_text,
    times,
)

__all__ = ["Answer", "answers_of"]


_NOISY = 0.15


class Answer(NamedTuple):
    """`text` is one sentence; `details` are pairs of a mode's name and its figures."""

    question: str
    text: str
    details: list[tuple[str, str]]


_CONNECT = (
    ("What does a ClusterIP cost a pod that opens a connection?", "pod-clusterip"),
    ("What does it cost when the client is on another node?", "far-clusterip"),
    ("What does a NodePort on the pod's node cost a client outside?", "outside-nodeport"),
    ("What does a NodePort on another node cost it?", "outside-nodeport-far"),
    ("What does its own node's NodePort cost a pod?", "pod-nodeport"),
    ("What does a ClusterIP cost the node itself?", "node-clusterip"),
    ("What does hairpin traffic cost?", "hairpin"),
)


def answers_of(findings: Findings) -> list[Answer]:
    """Every answer that the result has figures for."""
    found = [_cost(findings, question, path) for question, path in _CONNECT]
    found += [_far_against_near(findings), _bystanders(findings), _growth(findings), _position(findings)]
    found.append(_capacity(findings, "crr", "How many connections a second get through a ClusterIP?"))
    found.append(_capacity(findings, "rr", "Does a mode slow requests down on a connection that stays open?"))
    found.append(_open_loop(findings))
    found.append(_capacity(findings, "stream", "Does a mode slow bulk data down?"))
    found.append(_sync(findings))
    found += [_elsewhere(findings, mode) for mode in findings.absent if mode not in findings.modes]
    return [answer for answer in found if answer]


def _cells(stage: StageFindings | None, path: str, figure: str) -> list[Cell]:
    """The cells of `path` in every mode, the best first."""
    found = []
    for cell in stage.cells.values() if stage else ():
        condition = cell.condition
        is_wanted = (condition.path, cell.figure) == (path, figure) and condition.position in ("last", "")
        if is_wanted and condition.mode not in BASELINES:
            found.append(cell)
    found.sort(key=lambda c: c.ratio.value, reverse=figure not in LOWER)  # ratios are taken round by round
    return found


def _noise(stage: StageFindings, figure: str) -> str:
    floor = stage.floors[figure]
    return f"noise {percent(floor.share)}" if floor else "no noise floor, so nothing is claimed"


def _doubt(claimed: int) -> str:
    return "" if claimed else ", within the noise"


def _nothing(stage: StageFindings, figure: str) -> str:
    """The words for a difference within the noise: it can't be known that there is none."""
    floor = stage.floors[figure]
    if floor and floor.share > _NOISY:
        return f"the noise of {percent(floor.share)} hides whatever difference there is"
    return f"no difference beyond the noise was found ({_noise(stage, figure)})"


def _names(cells: list[Cell]) -> str:
    return and_list([mode_text(c.condition.mode) for c in cells])


def _leaders(stage: StageFindings, cells: list[Cell], figure: str) -> list[Cell]:
    """The best cell, and those that don't differ from it beyond the noise."""
    return [c for c in cells if c is cells[0] or not stage.differs(c.condition, cells[0].condition, figure)]


def _said(stage: StageFindings, question: str, text: str, details: list[tuple[str, str]]) -> Answer:
    """An answer from `stage`, unless it has too few rounds."""
    if stage.rounds < MIN_BLOCKS:
        rounds = f"{stage.rounds} round{'s' * (stage.rounds > 1)} of blocks"
        text = f"{rounds} are too few to say; {MIN_BLOCKS} are needed."
    return Answer(question, text, details)


def _cost(findings: Findings, question: str, path: str) -> Answer | None:
    stages = [s for s in findings.of_kind("connect") if any(c.path == path for c in s.conditions)]
    if not stages:
        return None
    stage = max(stages, key=lambda s: (s.stage.group.services, -s.stage.group.endpoints))
    cells = _cells(stage, path, "p50")
    base = stage.cell("none", PATHS[path].base, "p50")
    if not cells or not base:
        return None
    best = _leaders(stage, cells, "p50") if cells[0].claimed else [c for c in cells if not c.claimed]
    worst = next((c for c in reversed(cells) if c not in best), cells[0])
    services = services_text(stage.stage.group.services)
    noise = _noise(stage, "p50")
    if not any(c.claimed for c in cells):
        text = f"With {services}, no mode is slower than the direct way by more than the noise ({noise})."
    else:
        long = "no longer, beyond the noise, than straight"
        if cells[0].claimed:
            long = f"{times(cells[0].ratio.value)} times as long as straight"
        text = f"With {services}, connect() takes {long} to the pod's IP with {_names(best)}"
        if worst not in best:
            text += f", and up to {times(worst.ratio.value)} times with {mode_text(worst.condition.mode)}"
        text += f" ({noise})."
    client = PATHS[path].title.split(" to ")[0]
    details = [(f"{client} straight to the pod, no rules", figure_text("p50", base.median.value))]
    for c in cells:
        more = median(stage.more(c.condition))
        difference = f"{figure_text('p50', abs(more))} {'more' if more >= 0 else 'less'}"
        said = f"{ratio_text(c.ratio)}, {difference}{_doubt(c.claimed)}"
        details.append((mode_text(c.condition.mode), said))
    return _said(stage, question, text, details)


class _Pair(NamedTuple):
    mode: str
    ratio: Interval
    claimed: int


def _pairs(
    findings: Findings, stage: StageFindings, over: tuple[str, str], under: tuple[str, str]
) -> list[_Pair]:
    """The ratio of two (path, position) in every mode that has both, smallest first."""
    found = []
    for mode in findings.modes:
        a, b = Condition(mode, *over), Condition(mode, *under)
        ratio = stage.versus(a, b, "p50") if {a, b} <= set(stage.conditions) else None
        if ratio:
            found.append(_Pair(mode, ratio, stage.differs(a, b, "p50")))
    return sorted(found, key=lambda p: p.ratio.value)


def _range(pairs: list[_Pair]) -> str:
    low, high = pairs[0], pairs[-1]
    if times(low.ratio.value) == times(high.ratio.value):
        return f"{times(low.ratio.value)} times"
    lowest = f"{times(low.ratio.value)} ({mode_text(low.mode)})"
    return f"{lowest} to {times(high.ratio.value)} times ({mode_text(high.mode)})"


def _pair_details(pairs: list[_Pair]) -> list[tuple[str, str]]:
    return [(mode_text(p.mode), f"{ratio_text(p.ratio)}{_doubt(p.claimed)}") for p in pairs]


def _far_against_near(findings: Findings) -> Answer | None:
    stage = findings.main("connect")
    if not stage:
        return None
    pairs = _pairs(findings, stage, ("outside-nodeport-far", "last"), ("outside-nodeport", "last"))
    if not pairs:
        return None
    question = "How much worse is a NodePort on the wrong node than on the right one?"
    text = (
        f"Through a node without the pod, connect() takes {_range(pairs)} as long as "
        "through the pod's own, the second hop included."
    )
    return _said(stage, question, text, _pair_details(pairs))


def _bystanders(findings: Findings) -> Answer | None:
    stage = findings.main("connect")
    cells = _cells(stage, "pod-direct", "p50")
    if not stage or not cells:
        return None
    tracked = stage.cell(CONNTRACK, "pod-direct")
    details = []
    for cell in cells:
        said = f"{ratio_text(cell.ratio)}{_doubt(cell.claimed)}"
        is_compared = tracked and cell.condition.mode != CONNTRACK
        if is_compared and not stage.differs(cell.condition, tracked.condition, "p50"):
            said += ", no more than one NAT rule"
        details.append((mode_text(cell.condition.mode), said))
    ours = [c for c in cells if c.condition.mode != CONNTRACK]
    services = services_text(stage.stage.group.services)
    if not ours or not any(c.claimed for c in ours):
        text = f"With {services} on the node, no more than the noise ({_noise(stage, 'p50')})."
    else:
        first = f"{times(ours[0].ratio.value)} times as long with {mode_text(ours[0].condition.mode)}"
        text = f"With {services} on the node they take {first}"
        if len(ours) > 1:
            text += f" and {times(ours[-1].ratio.value)} times with {mode_text(ours[-1].condition.mode)}"
        text += f"; tracking connections alone costs {times(tracked.ratio.value)}" if tracked else ""
        text += f" ({_noise(stage, 'p50')})."
    question = "Do connections pay that go straight to a pod's IP, past every Service?"
    return _said(stage, question, text, details)


def _growth(findings: Findings) -> Answer | None:
    every = findings.slopes("pod-clusterip")
    slopes = sorted((s for s in every if s.path == "pod-clusterip"), key=lambda s: s.per_service.value)
    if not slopes:
        return None
    # no less than the copies of the baseline show by chance
    chance = max((abs(s.per_service.value) for s in every if s.mode in AGAIN), default=0.0)
    few = any(s.per_service.blocks < MIN_BLOCKS for s in slopes)
    growing = [s for s in slopes if s.per_service.low > max(0.0, chance)]
    details = []
    for slope in slopes:
        per = slope.per_service
        growth = f"{per.value:.2f} ns a Service ({per.low:.2f} to {per.high:.2f})"
        details.append((mode_text(slope.mode), growth))
    first, last = slopes[0].points[0][0], slopes[0].points[-1][0]
    flat = [mode_text(s.mode) for s in slopes if s not in growing]
    parts = [f"by {s.per_service.value:.2f} ns for each Service with {mode_text(s.mode)}" for s in growing]
    if flat:
        parts.append(f"not measurably with {and_list(flat)}")
    text = (
        f"Between {first:,} and {last:,} Services, the time to connect through the last ClusterIP "
        f"grows {and_list(parts)}."
    )
    if few:
        text = f"Too few rounds of blocks to say; {MIN_BLOCKS} are needed."
    return Answer("How does the time to connect grow with the number of Services?", text, details)


def _position(findings: Findings) -> Answer | None:
    stage = findings.main("connect")
    pairs = _pairs(findings, stage, ("pod-clusterip", "last"), ("pod-clusterip", "first")) if stage else []
    if not stage or not pairs:
        return None
    slower = [p for p in pairs if p.claimed > 0]
    services = services_text(stage.stage.group.services)
    if slower:
        named = and_list([f"{mode_text(p.mode)} ({times(p.ratio.value)} times)" for p in slower])
        text = (
            f"The last of {services} takes longer than the first with {named}; "
            "with the other modes not beyond the noise."
        )
    else:
        noise = _noise(stage, "p50")
        text = f"The last of {services} takes no longer than the first, beyond the noise ({noise})."
    return _said(stage, "Does it matter which Service one asks for?", text, _pair_details(pairs))


_WHAT = {"crr": ", each connection with one request", "rr": " on one connection", "stream": ""}


def _capacity(findings: Findings, kind: str, question: str) -> Answer | None:
    stage = findings.main(kind)
    figure = stage.kind.primary if stage else ""
    cells = _cells(stage, "pod-clusterip", figure)
    base = stage.cell("none", "pod-direct", figure) if stage else None
    if not stage or not cells or not base:
        return None
    details = [("straight to the pod, no rules", figure_text(figure, base.median.value))]
    for cell in cells:
        cpu = stage.cell(cell.condition.mode, "pod-clusterip", "cpu") if "cpu" in stage.kind.figures else None
        said = f"{figure_text(figure, cell.median.value)}, {ratio_text(cell.ratio)}{_doubt(cell.claimed)}"
        if cpu:
            said += f"; CPU {ratio_text(cpu.ratio)}{_doubt(cpu.claimed)}"
        details.append((mode_text(cell.condition.mode), said))
    start = f"Straight to the pod {figure_text(figure, base.median.value)}{_WHAT[kind]}; through a ClusterIP"
    best = _leaders(stage, cells, figure)
    slower = [c for c in cells if c.claimed < 0]
    if not slower:
        text = f"{start} {_nothing(stage, figure)}."
    elif len(best) == len(cells):
        text = (
            f"{start} down to {times(cells[-1].ratio.value)} times that, "
            f"with no difference between the modes beyond the noise ({_noise(stage, figure)})."
        )
    else:
        worst = [c for c in cells if c not in best][-1]
        lowest = f"{times(worst.ratio.value)} with {mode_text(worst.condition.mode)}"
        text = f"{start} {times(cells[0].ratio.value)} times that with {_names(best)}, down to {lowest}"
        text += f" ({_noise(stage, figure)})."
    return _said(stage, question, text, details)


def _open_loop(findings: Findings) -> Answer | None:
    stages = [s for s in findings.of_kind("rate", findings.largest) if not s.stage.measure.keepalive]
    if not stages:
        return None
    stage = max(stages, key=lambda s: s.stage.measure.rate)
    cells, base = _cells(stage, "pod-clusterip", "p99"), stage.cell("none", "pod-direct", "p99")
    if not cells or not base:
        return None
    details = [("straight to the pod, no rules", figure_text("p99", base.median.value))]
    for c in cells:
        said = f"{figure_text('p99', c.median.value)}, {ratio_text(c.ratio)}{_doubt(c.claimed)}"
        details.append((mode_text(c.condition.mode), said))
    usual = figure_text("p99", base.median.value)
    rate = f"{stage.stage.measure.rate:,} new connections a second"
    start = f"At {rate}, 1 request in 100 takes longer than {usual}"
    slower = [c for c in cells if c.claimed > 0]
    if slower:
        span = times(slower[0].ratio.value)
        span += f" to {times(slower[-1].ratio.value)}" if len(slower) > 1 else ""
        more = f"{span} times that with {_names(slower)} ({_noise(stage, 'p99')})"
        text = f"{start} straight to the pod, and than {more}."
    else:
        text = f"{start} straight to the pod; through a ClusterIP {_nothing(stage, 'p99')}."
    return _said(stage, "What do requests at a steady rate wait, from when each was due?", text, details)


def _elsewhere(findings: Findings, mode: str) -> Answer | None:
    """The answer for a mode that this kernel lacks, from the first of the other results that has it."""
    for other in findings.others:
        stage = other.main("connect")
        cells = _cells(stage, "pod-clusterip", "p50")
        cell = next((c for c in cells if c.condition.mode == mode), None)
        if not stage or not cell:
            continue
        services, where = services_text(stage.stage.group.services), place_text(other.results.environment)
        long = f"{times(cell.ratio.value)} times as long as straight to the pod's IP"
        text = (
            f"Elsewhere ({where}) with {services}, connect() through a ClusterIP takes {long} "
            f"with {mode_text(mode)}{_doubt(cell.claimed)} ({_noise(stage, 'p50')}); "
            "compare it with the others of that run only."
        )
        details = [(mode_text(c.condition.mode), f"{ratio_text(c.ratio)}{_doubt(c.claimed)}") for c in cells]
        return _said(stage, f"And {mode_text(mode)}, which this kernel hasn't got?", text, details)
    return None


_SYNC = {
    "cold": "all",
    "first": "until a first connection",
    "change": "one endpoint less",
    "again": "nothing to do",
}


def _sync(findings: Findings) -> Answer | None:
    controlled = findings.controlled()
    if not controlled:
        return None
    services, modes = controlled[-1]
    found = [(mode, cold) for mode in modes if (cold := findings.control(services, mode, "cold"))]
    if not found:
        return None
    found.sort(key=lambda pair: pair[1].value)
    details = []
    for mode, _ in found:
        times = [(name, findings.control(services, mode, figure)) for figure, name in _SYNC.items()]
        details.append((mode_text(mode), ", ".join(f"{name} {seconds(i.value)}" for name, i in times if i)))
    ours = [pair for pair in found if pair[0] != "linear"] or found
    mode, shortest = ours[0]
    text = f"With {services_text(services)}, the whole command takes "
    text += f"{seconds(shortest.value)} with {mode_text(mode)}"
    if len(ours) > 1:
        text += f" and {seconds(ours[-1][1].value)} with {mode_text(ours[-1][0])}"
    has_list = len(ours) < len(found)
    text += (
        "; kube-proxy's list is only loaded here, its own work to make it comes on top." if has_list else "."
    )
    return Answer("How long until the rules are in?", text, details)
