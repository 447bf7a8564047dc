"""``kcompile doctor``: which modes this node supports, problems, and the commands that fix them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..modes import MODES
from . import options
from .console import coloured, echo, print_data, table

if TYPE_CHECKING:
    from ..kernel.doctor import Finding, Report

__all__ = ["command"]

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command("doctor")
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(list(MODES)),
    help="Probe only this mode (may be repeated). Default: all.",
)
@click.option("--netns", metavar="NAME", help="Check this network namespace (a name of `ip netns list`).")
@options.output
def command(modes: tuple[str, ...], netns: str | None, output: str) -> None:
    """Show which modes this node supports, who programs it, problems, and the commands that fix them.

    Modes are probed in a temporary network namespace; nothing else is changed. Exit status: 0 if at least one
    mode works and no finding is an error, else 1.
    """
    import msgspec

    from ..kernel.doctor import MODES as TRIED
    from ..kernel.doctor import gather, judge

    wanted = [mode for mode in TRIED if not modes or mode in modes or MODES[mode].family in modes]
    report = judge(gather(wanted, netns))
    if output == "text":
        echo(_lines(report))
    else:
        print_data(msgspec.to_builtins(report), output)
    if not report.healthy:
        raise SystemExit(1)


def _lines(report: Report) -> list[str]:
    rows = []
    for mode in report.modes:
        families = ", ".join(f"IPv{family}" for family in mode.families) or "<none>"
        why = "; ".join(
            part for part in (mode.why, f"without {', '.join(mode.lacks)}" if mode.lacks else "") if part
        )
        rows.append((mode.mode, mode.status, families, why))
    lines = table(("MODE", "STATUS", "FAMILIES", "WHY"), rows)
    owners = [(owner.who, ", ".join(owner.modes) or "<none>", owner.state) for owner in report.owners]
    if owners:
        lines += ["", *table(("OWNER", "MODE", "STATE"), owners)]
    fine = [finding.check for finding in report.findings if finding.severity == "ok"]
    for finding in report.findings:
        if finding.severity != "ok":
            lines += ["", *_finding(finding)]
    if fine:
        lines += ["", f"Fine: {', '.join(fine)}."]
    return lines


def _finding(finding: Finding) -> list[str]:
    severity: str = finding.severity
    if coloured():
        severity = click.style(severity, fg=_COLOURS[severity], bold=True)
    return [f"{severity} {finding.check}: {finding.message}", *(f"    {command}" for command in finding.fix)]
