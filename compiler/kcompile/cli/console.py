"""Printing: colour on terminals only, JSON and YAML, tables, progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..notices import Notice

__all__ = ["Progress", "coloured", "echo", "print_data", "table", "warn"]

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}

# How many warnings with the same id are shown; the rest are counted.
_MOST = 20


def coloured() -> bool:
    """Colour only on a terminal, and never against NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def echo(lines: Iterable[str]) -> None:
    """Print `lines` in one go; those that start with a plan's sign get its colour."""
    if not coloured():
        text = "\n".join(lines)
        if text:
            click.echo(text)
        return
    for line in lines:
        click.secho(line, fg=_COLOURS.get(line.lstrip()[:1]), color=True)


def print_data(data: Any, form: str) -> None:
    """`data` as JSON or YAML."""
    import json

    if form == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        import yaml

        click.echo(yaml.safe_dump(data, sort_keys=False, width=200), nl=False)


def warn(notices: Iterable[Notice], *, every: bool = False) -> None:
    """Warnings, one line each with its id, on stderr; of one id at most _MOST unless `every`."""
    from msgspec import structs

    by_id: dict[str, list[Notice]] = {}
    for notice in notices:
        by_id.setdefault(notice.id, []).append(notice)
    for group in by_id.values():
        shown = group if every or len(group) <= _MOST else group[: _MOST - 1]
        if left := len(group) - len(shown):
            text = f"and {left:,} more of these (-v shows all)"
            shown = [*shown, structs.replace(group[0], text=text, source="", object="", field="")]
        for notice in shown:
            click.echo(notice.line, err=True)


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of aligned columns, as kubectl prints them."""
    everything = [header, *rows]
    widths = [max(len(row[i]) for row in everything) for i in range(len(header))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in everything
    ]


class Progress:
    """Shows the current step on stderr once a command has taken a second; only on a terminal."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.shown = False
        self.current = ""

    def __call__(self, step: str) -> None:
        """`step` begins, or still runs (engine/progress.py)."""
        self.current = step
        seconds = time.monotonic() - self.start
        if seconds > 1 and self.current and sys.stderr.isatty():
            click.echo(f"\r\033[K{self.current} ... {seconds:.0f} s", nl=False, err=True)
            self.shown = True

    def done(self) -> None:
        """Clear the line."""
        if self.shown:
            click.echo("\r\033[K", nl=False, err=True)
            self.shown = False
