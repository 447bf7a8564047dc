"""The report as one self-contained HTML file: no script, no font, no external image."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from . import tables
from .answers import Answer
from .cluster import OWN, SHARED
from .figures import figures_of, in_short
from .findings import Findings
from .picture import topology
from .svg import standalone
from .tables import Table
from .words import and_list, mode_text, place_text, services_text

__all__ = ["html", "picture", "rerun", "summary"]

_STYLE = Path(__file__).with_name("style.css")
_TIP = (
    '<svg width="0" height="0" aria-hidden="true"><defs>'
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="5" markerHeight="5" '
    'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs></svg>'
)


def picture(findings: Findings) -> str:
    """The chart for the whole result, as an SVG file; empty where nothing was measured."""
    figure = in_short(findings)
    return standalone(figure.svg, _STYLE.read_text()) if figure else ""


def summary(findings: Findings) -> str:
    """The run in one line."""
    plan, record = findings.plan, findings.results.environment
    groups = ", ".join(f"{g.services:,} x {g.endpoints}" for g in plan.each_group())
    return f"Profile {plan.profile}; Services x endpoints: {groups}; {place_text(record)}; {record['time']}."


def rerun(findings: Findings) -> list[str]:
    """The commands that repeat the run and its report."""
    command = findings.results.environment["command"]
    return [
        f"{command}   # as root; the same command goes on after an interruption",
        "kcompile bench report RESULTS",
        "kcompile bench compare OLD-RESULTS RESULTS",
    ]


def _table(table: Table, heading: str = "h3") -> str:
    head = "".join(f"<th{_right(table, i)}>{escape(cell)}</th>" for i, cell in enumerate(table.header))
    body = "".join(
        "<tr>" + "".join(f"<td{_right(table, i)}>{escape(cell)}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in table.rows
    )
    title = f"<{heading}>{escape(table.title)}</{heading}>" if heading else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    if not table.rows:
        return f"{title}{note}"
    header = f"<thead><tr>{head}</tr></thead>" if any(table.header) else ""
    rows = f'<div class="scroll"><table>{header}<tbody>{body}</tbody></table></div>'
    return f"{title}{rows}{note}"


def _right(table: Table, column: int) -> str:
    return ' class="n"' if column >= table.numbers else ""


def _folded(found: Iterable[Table]) -> str:
    return "".join(f"<details><summary>{escape(t.title)}</summary>{_table(t, '')}</details>" for t in found)


def _answer(answer: Answer) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(said)}</td></tr>" for name, said in answer.details
    )
    text = f"<dd>{escape(answer.text)}</dd><dd><table>{rows}</table></dd>"
    return f"<div><dt>{escape(answer.question)}</dt>{text}</div>"


def html(findings: Findings) -> str:
    """The page."""
    answers = "".join(_answer(answer) for answer in findings.answers)
    figures = "".join(
        f"<figure><h3>{escape(f.title)}</h3>{f.svg}<figcaption>{escape(f.text)}</figcaption></figure>"
        for f in figures_of(findings)
    )
    absent = ""
    if findings.absent or findings.results.absent_stages:
        missing = [*map(mode_text, findings.absent), *findings.results.absent_stages]
        verb = "was" if len(missing) == 1 else "were"
        see = 'see <a href="#measured">What was measured</a>'
        absent = f'<p class="warn">{escape(and_list(missing))} {verb} not measured here ({see}).</p>'
    if not findings.complete:
        absent += '<p class="warn">This run is not complete. Run the same command again to continue it.</p>'
    check = tables.crosscheck(findings)
    other = tables.beside(findings, findings.others)
    sections = {
        "answers": ("Answers", f'<dl class="answers">{answers}</dl>'),
        "topology": ("Topology", _topology(findings)),
        "figures": ("Pictures", f'<div class="figures">{figures}</div>'),
        "measured": (
            "What was measured",
            _table(tables.modes(findings), "") + (_table(other) if other else ""),
        ),
        "tables": ("All figures", _folded(tables.stage_table(s) for s in findings.stages.values())),
        "sync": (
            "Rules put in and changed",
            "".join(_table(t) for t in tables.sync(findings)) or "<p>Not measured.</p>",
        ),
        "noise": ("Noise", _table(tables.noise(findings), "") + (_table(check) if check else "")),
        "failures": ("Failures", _table(tables.failures(findings), "")),
        "limits": (
            "What this does not show",
            "<ul>" + "".join(f"<li>{escape(limit)}</li>" for limit in tables.limits(findings)) + "</ul>",
        ),
        "environment": ("The machine", _folded(tables.environment(findings))),
        "again": ("How to run it again", f"<pre>{escape(chr(10).join(rerun(findings)))}</pre>"),
    }
    links = "".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in sections.items())
    body = "".join(
        f'<section id="{key}"><h2>{title}</h2>{text}</section>' for key, (title, text) in sections.items()
    )
    title = f"Ways to a pod: {services_text(findings.largest.services)}, {len(findings.modes)} modes"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE.read_text()}</style></head>\n<body>"
        "<header><h1>NodePort against ClusterIP against the pod's own IP</h1>"
        f'<p class="soft">{escape(summary(findings))}</p>{absent}'
        f"<nav>{links}</nav></header>\n<main>{body}</main></body></html>\n"
    )


_SETTINGS = {
    OWN: (
        "Every mode has such a cluster of its own, and so have three without rules: a baseline and two "
        "copies of it. All stand side by side; blocks of each are run in turn, forwards and backwards."
    ),
    SHARED: (
        "There is one such cluster. Within each round the rules of every mode are put in and taken out, "
        "forwards and backwards; the baseline and its two copies are the nodes without rules."
    ),
}


def _topology(findings: Findings) -> str:
    paths = [path for measure in findings.plan.measures for path in measure.paths]
    setting = _SETTINGS[findings.wiring["clusters"]]
    return f"<figure>{_TIP}{topology(paths, findings.wiring)}<figcaption>{setting}</figcaption></figure>"
