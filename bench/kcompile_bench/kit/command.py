"""``kcompile bench run``, ``report`` and ``compare``: kcompile's command line finds them by the entry point
group ``kcompile.verbs``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

__all__ = ["command"]

_PROFILES = ("quick", "standard", "full")


@click.group("bench")
def command() -> None:
    """Measure the cost of ClusterIP, NodePort and pod IP in each mode, and report it.

    Everything runs in temporary network namespaces. The machine's own rules are not touched.
    """


class _Progress:
    """Shows the current step and the time left: one line on a terminal, else a new line every 15 s."""

    def __init__(self) -> None:
        self._terminal, self._last = sys.stderr.isatty(), 0.0

    def __call__(self, what: str, left: float) -> None:
        now = time.monotonic()
        if now < self._last + (0.2 if self._terminal else 15):
            return
        self._last = now
        minutes, seconds = divmod(round(left), 60)
        text = f"{what} (about {minutes}:{seconds:02d} left)"
        click.echo(f"\r\033[K{text}" if self._terminal else text, nl=not self._terminal, err=True)

    def done(self) -> None:
        if self._terminal:
            click.echo("\r\033[K", nl=False, err=True)


def _needs_numpy() -> None:
    import importlib.util

    from kcompile.errors import UnsupportedError

    if not importlib.util.find_spec("numpy"):
        raise UnsupportedError("numpy is missing: pip install 'kcompile[bench]'")


def _within(kind: str | None) -> str:
    return {"uml": ", in User-mode Linux", "tcg": ", in an emulated machine"}.get(kind or "", "")


def _factors(_: Any, __: Any, values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for value in values:
        mode, _, factor = value.partition("=")
        try:
            found[mode] = float(factor)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not MODE=FACTOR") from None
    return found


@command.command("run")
@click.option(
    "--profile",
    "name",
    type=click.Choice(_PROFILES),
    default="quick",
    help="quick: under 3 minutes; standard; full: hours.",
)
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench-results"),
    show_default=True,
    help="Folder for the result. An interrupted run is continued from there.",
)
@click.option(
    "--mode",
    "modes",
    multiple=True,
    metavar="MODE",
    help="Only this mode, and the baselines (may be repeated).",
)
@click.option(
    "--services",
    type=click.IntRange(min=1),
    multiple=True,
    help="Only with this number of Services (may be repeated).",
)
@click.option(
    "--measure",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Only this kind of measure, or `control` (may be repeated).",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=2),
    help="Rounds of each measure. With fewer than 20 the report draws no conclusion.",
)
@click.option(
    "--place",
    default="netns",
    metavar="PLACE",
    help="Where to run: netns, lab, uml or tcg (virtual machines), or FILE.yaml (an inventory of hosts).",
)
@click.option("--inject", multiple=True, callback=_factors, metavar="MODE=FACTOR", hidden=True)
def run(
    name: str,
    folder: Path,
    modes: tuple[str, ...],
    services: tuple[int, ...],
    kinds: tuple[str, ...],
    rounds: int | None,
    place: str,
    inject: dict[str, float],
) -> None:
    """Measure, and write the result to a folder.

    Needs root (for network namespaces) and a C compiler. Modes that the kernel lacks are skipped and named in
    the report.
    """
    from .cluster import wiring
    from .machines import MACHINES, WITHIN, run_in_machine
    from .places import check, place_of, sweep_places
    from .profiles import narrowed, profile
    from .record import environment
    from .results import Results
    from .runner import Runner

    check(place)
    plan = narrowed(profile(name), modes=modes, services=services, kinds=kinds, rounds=rounds)
    if place in MACHINES:
        raise SystemExit(run_in_machine(place, folder))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sweep_places()
    progress = _Progress()
    try:
        with place_of(place) as where:
            plan = narrowed(plan, paths=where.paths, endpoints=len(where.site.servers) or None)
            record = environment(f"{where.name}{_within(os.environ.get(WITHIN))}")
            results = Results.start(folder, plan, record | {"wiring": wiring(where)})
            if results.seconds:
                click.echo(f"Continuing {folder}: {results.seconds:.0f} s are already measured.", err=True)
            Runner(results, where, progress, inject).run()
    except KeyboardInterrupt:
        progress.done()
        click.echo("Stopped. Run the same command again to continue.", err=True)
        raise SystemExit(130) from None
    finally:
        progress.done()
    click.echo(f"{folder / 'results.jsonl'}: done. Now: kcompile bench report {folder}")


@command.command("report")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files. Default: the folder of the result.",
)
@click.option("--beside", "others", multiple=True, type=click.Path(path_type=Path), metavar="RESULT",
              help="Add another run's ratios as a column (may be repeated).")  # fmt: skip
def report(result: Path, folder: Path | None, others: tuple[Path, ...]) -> None:
    """Write a report on RESULT (a folder or file of `bench run`): report.html, .md, .json and .csv, and the
    main chart as report.svg.
    """
    _needs_numpy()
    from .findings import findings_of
    from .report import write
    from .results import Results

    folder = folder or (result if result.is_dir() else result.parent)
    findings = findings_of(Results.read(result), *map(Results.read, others))
    for path in write(findings, folder):
        click.echo(str(path))
    for answer in findings.answers:
        click.echo(f"\n{answer.question}\n  {answer.text}")


@command.command("compare")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
def compare(old: Path, new: Path) -> None:
    """Compare two results. Exit status 1 if NEW is slower than OLD by more than the noise of both.

    Compared are ratios to the baseline of the same run, so that a busier machine cancels out.
    """
    _needs_numpy()
    from .compare import compare as compared
    from .results import Results

    found = compared(Results.read(old), Results.read(new))
    for line in found.lines():
        click.echo(line)
    if found.regressions:
        raise SystemExit(1)
