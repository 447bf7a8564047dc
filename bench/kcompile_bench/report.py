"""Turns bench/results/*.json into Markdown: budgets, every stage, peers, latency; modes ipvs and xdp apart.

``python -m kcompile_bench.report [--into docs/reference/performance.md]``; with --into it replaces what is
between the page's marks, of either part that there are results of.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .generate import Scale
from .latency import table as latency_table
from .throughput import table as throughput_table

__all__ = ["main"]

RESULTS = Path(__file__).resolve().parents[1] / "results"
_PARTS = ("results", "ipvs results", "xdp results")
_STAGES = (
    "decode json",
    "decode yaml",
    "validate",
    "allocate",
    "convert",
    "passes",
    "lower",
    "diff",
    "diff, no change",
    "render",
    "apply",
    *(f"apply, {chunk:,} elements a statement" for chunk in (200, 2_000, 1_000_000)),
    "observe",
    "cold",
    "change by apply",
    "change in memory",
    "change of one port",
    "kcompile compile",
    "kcompile apply",
    "kcompile apply, no change",
)
_PEER_STAGES = (
    ("peer cold", "apply", "load everything"),
    ("peer change", "change in memory", "one endpoint, all lowered"),
    ("peer change", "change of one port", "one endpoint, its port lowered"),
)
_IPVS_PEERS = (("ipvsadm -R", 10), ("pyroute2.IPVS", 50))  # by how much to be faster than they
_MODES = ("", "ipvs", "nftables", "iptables", "iptables-legacy", "iptables-nft", "xdp")


class Figure(NamedTuple):
    """The median of one benchmark, in seconds."""

    wall: float
    cpu: float
    info: dict[str, Any]


Key = tuple[str, str, str]  # stage, mode, scale
Figures = dict[Key, Figure]


class Budget(NamedTuple):
    """A line of the design's budgets; `limit` in seconds of `clock`, or in MB of memory."""

    what: str
    key: Key
    clock: str
    limit: float
    kube_proxy: str


BUDGETS = (
    Budget("nftables, cold", ("cold", "nftables", "10000x2"), "cpu", 1.0, "18 s wall"),
    Budget(
        "nftables, one endpoint, its port lowered (1)",
        ("change of one port", "nftables", "10000x2"),
        "wall",
        0.010,
        "3.8 s",
    ),
    Budget(
        "nftables, one endpoint, all lowered (2)",
        ("change in memory", "nftables", "10000x2"),
        "wall",
        0.010,
        "3.8 s",
    ),
    Budget("iptables-legacy, cold", ("cold", "iptables-legacy", "10000x2"), "cpu", 1.2, "1.2 s"),
    Budget(
        "iptables-legacy, one endpoint, its port lowered",
        ("change of one port", "iptables-legacy", "10000x2"),
        "wall",
        0.150,
        "0.5 s",
    ),
    Budget("xdp, cold fill of the maps", ("apply", "xdp", "10000x2"), "wall", 1.0, ""),
    Budget(
        "xdp, one endpoint, its port lowered", ("change of one port", "xdp", "10000x2"), "wall", 0.005, ""
    ),
    Budget("`kcompile compile`, nftables", ("kcompile compile", "nftables", "1000x10"), "wall", 1.0, ""),
    Budget("`kcompile compile`, iptables", ("kcompile compile", "iptables", "1000x10"), "wall", 1.0, ""),
    Budget("its memory, nftables", ("kcompile compile", "nftables", "1000x10"), "peak_mb", 150, ""),
    Budget("its memory, iptables", ("kcompile compile", "iptables", "1000x10"), "peak_mb", 150, ""),
)
_LATENCY_LIMIT = 1.15


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report, or put it into a page."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.report", description="The results of the last run as Markdown."
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument(
        "--into", type=Path, metavar="FILE", help="replace what is between the marks of this page"
    )
    options = parser.parse_args(arguments)
    texts = [report(options.results), ipvs_report(options.results), xdp_report(options.results)]
    if options.into is None:
        print("\n".join(texts))
        return
    page = options.into.read_text()
    for name, text in zip(_PARTS, texts, strict=True):
        if text:
            page = _replaced(page, name, text)
    options.into.write_text(page)


def _replaced(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{text}\n{end}{tail}"


def report(directory: Path) -> str:
    """Everything that `directory` has results of."""
    parts: list[str] = []
    latency = _read(directory / "latency.json")
    suites = _read(directory / "suites.json")
    figures = _figures(suites) if suites else {}
    if figures or latency:
        parts += ["### Budgets", "", *_budgets(figures, latency), ""]
    if figures:
        parts += [
            "### Stages",
            "",
            *_stages(figures),
            "",
            "### Beside kube-proxy's rule shapes",
            "",
            *_peers(figures),
            "",
        ]
    if latency:
        parts += [
            f"### TCP connect, {Scale.parse(latency['scale']).title}",
            "",
            latency_table(latency["results"]),
            "",
        ]
    for name, machine in (
        ("suites", suites and suites["machine_info"]),
        ("latency", latency and latency["machine"]),
    ):
        if machine:
            parts.append(_machine(name, machine))
    return "\n".join(parts)


def ipvs_report(directory: Path) -> str:
    """Mode ipvs: measured by itself, under a kernel that has it. Empty where there are no results."""
    ipvs = _read(directory / "ipvs.json")
    if not ipvs:
        return ""
    figures = _figures(ipvs)
    return "\n".join(
        [*_ipvs_peers(figures), "", *_stages(figures), "", _machine("ipvs", ipvs["machine_info"])]
    )


def xdp_report(directory: Path) -> str:
    """Mode xdp by itself: maps, connect latency, bulk TCP. Empty where there are no results."""
    suites, latency, throughput = (
        _read(directory / f"xdp-{name}.json") for name in ("suites", "latency", "throughput")
    )
    parts: list[str] = []
    machines: list[tuple[str, dict[str, str]]] = []
    if suites:
        figures = _figures(suites)
        parts += [*_budgets(figures, None), "", *_stages(figures), ""]
        machines.append(("maps", suites["machine_info"]))
    if latency:
        parts += [
            f"TCP connect, {Scale.parse(latency['scale']).title}:",
            "",
            latency_table(latency["results"]),
            "",
        ]
        machines.append(("connect", latency["machine"]))
    if throughput:
        parts += [
            f"Bulk TCP, {Scale.parse(throughput['scale']).title}:",
            "",
            throughput_table(throughput["results"]),
            "",
        ]
        machines.append(("bulk TCP", throughput["machine"]))
    return "\n".join([*parts, *(_machine(name, machine) for name, machine in machines)])


def _machine(name: str, machine: dict[str, str]) -> str:
    programs = "Python {python}, nft {nft}, iptables {iptables}".format(**machine)
    load = f"load average at start {machine['load']}"
    return f"Machine ({name}): {machine['cpu']}, Linux {machine['kernel']}, {programs}, {load}.\n"


def _ipvs_peers(figures: Figures) -> Iterator[str]:
    yield "Virtual and real servers into the kernel, milliseconds of wall clock.\n"
    yield (
        "| | scale | kcompile | "
        + " | ".join(f"{peer} | ratio | goal {goal}" for peer, goal in _IPVS_PEERS)
        + " |"
    )
    yield "| --- | --- | --- |" + " --- |" * (3 * len(_IPVS_PEERS))
    for stage in ("servers", "one server"):
        for scale in _scales(figures):
            ours = figures.get((f"{stage}, kcompile", "ipvs", scale))
            if ours is None:
                continue
            title = f"all {ours.info['entries']:,}" if stage == "servers" else "one real server"
            cells = [f"{title} | {Scale.parse(scale).title} | {_ms(ours.wall)}"]
            for peer, goal in _IPVS_PEERS:
                theirs = figures.get((f"{stage}, {peer}", "ipvs", scale))
                if theirs is None:
                    cells.append("| | ")
                    continue
                ratio = theirs.wall / ours.wall
                cells.append(
                    f"{_ms(theirs.wall)} | {ratio:.1f} | {_met(-ratio, -goal) if stage == 'servers' else ''}"
                )
            yield f"| {' | '.join(cells)} |"


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def _figures(suites: dict[str, Any]) -> Figures:
    figures: Figures = {}
    for one in suites["benchmarks"]:
        info = one["extra_info"]
        wall = info.get("wall_seconds", one["stats"]["median"])
        figures[info["stage"], info["mode"], info["scale"]] = Figure(wall, info["cpu_seconds"], info)
    return figures


def _ms(seconds: float) -> str:
    ms = seconds * 1000
    return f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"


def _budgets(figures: Figures, latency: dict[str, Any] | None) -> Iterator[str]:
    yield "| what | budget | measured | | kube-proxy |"
    yield "| --- | --- | --- | --- | --- |"
    for budget in BUDGETS:
        figure = figures.get(budget.key)
        if figure is None:
            continue
        if budget.clock == "peak_mb":
            value = figure.info["peak_mb"]
            limit = f"{budget.limit:.0f} MB"
            measured = f"{value:.0f} MB"
        else:
            value = figure.cpu if budget.clock == "cpu" else figure.wall
            limit = f"{_ms(budget.limit)} ms {budget.clock.replace('cpu', 'CPU')}"
            measured = f"{_ms(figure.wall)} ms wall, {_ms(figure.cpu)} CPU"
        scale = Scale.parse(budget.key[2]).title
        met = _met(value, budget.limit)
        yield f"| {budget.what}, {scale} | {limit} | {measured} | {met} | {budget.kube_proxy} |"
    for result in latency["results"] if latency else ():
        if result["target"] in ("last VIP", "direct pod") and result["rules"] in _MODES:
            value = result["over_no_rules"][0]
            measured = f"{value:.2f}x; {result['over_nat_rule'][0]:.2f}x of one NAT rule"
            what = f"connect, {result['rules']}, {result['target']}"
            yield f"| {what} | {_LATENCY_LIMIT}x of no rules | {measured} | {_met(value, _LATENCY_LIMIT)} | |"


def _met(value: float, limit: float) -> str:
    return "met" if value <= limit else "**missed**"


def _scales(figures: Figures) -> list[str]:
    return sorted({scale for _, _, scale in figures}, key=Scale.parse)


def _stages(figures: Figures) -> Iterator[str]:
    scales = _scales(figures)
    yield "Milliseconds, wall / CPU, and peak memory of a command.\n"
    yield "| stage | mode | " + " | ".join(Scale.parse(s).title for s in scales) + " |"
    yield "| --- | --- |" + " --- |" * len(scales)
    for stage in _STAGES:
        for mode in _MODES:
            row = [figures.get((stage, mode, scale)) for scale in scales]
            if any(row):
                cells = [f"{_ms(f.wall)} / {_ms(f.cpu)}{_peak(f)}" if f else "" for f in row]
                yield f"| {stage} | {mode} | {' | '.join(cells)} |"


def _peak(figure: Figure) -> str:
    return f", {figure.info['peak_mb']:.0f} MB" if "peak_mb" in figure.info else ""


def _peers(figures: Figures) -> Iterator[str]:
    yield "Milliseconds of wall clock (CPU for the ratio).\n"
    yield "| | mode | scale | kube-proxy's shape | kcompile | ratio |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for peer, stage, title in _PEER_STAGES:
        for mode in _MODES:
            for scale in _scales(figures):
                theirs, ours = figures.get((peer, mode, scale)), figures.get((stage, mode, scale))
                if theirs and ours:
                    cells = f"{_ms(theirs.wall)} | {_ms(ours.wall)} | {theirs.cpu / ours.cpu:.1f}"
                    yield f"| {title} | {mode} | {Scale.parse(scale).title} | {cells} |"


if __name__ == "__main__":
    main()
