"""Ask on a terminal before most of a node's Services are removed; never while the node's lock is held."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import KcompileError
from ..notices import Notice
from .console import warn

if TYPE_CHECKING:
    from ..plans import Removal

__all__ = ["ask", "must_ask"]

_TERMINAL = Path("/dev/tty")


def must_ask(removal: Removal, *, yes: bool) -> bool:
    """Whether to call `ask`: `removal` is large, stderr is a terminal, and `yes` is not set.

    If not, a large removal is a warning instead (none in a script with `yes`).
    """
    if not removal.is_large:
        return False
    if not yes and _on_terminal():
        return True
    if not yes or sys.stderr.isatty():
        warn([Notice("removal", str(removal))])
    return False


def ask(removal: Removal) -> None:
    """Ask whether to go on, on /dev/tty (stdin may hold manifests). Raises KcompileError unless the answer is
    yes.
    """
    click.echo(f"kcompile: {removal}. Continue? [y/N] ", nl=False, err=True)
    with _TERMINAL.open() as terminal:
        answer = terminal.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise KcompileError("not confirmed; nothing was changed")


def _on_terminal() -> bool:
    """Whether stderr is a terminal and /dev/tty can be opened."""
    if not sys.stderr.isatty():
        return False
    try:
        _TERMINAL.open().close()
    except OSError:
        return False
    return True
