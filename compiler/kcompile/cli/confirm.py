"""The question before most of a node's Services go: on a terminal, and never while the node's lock is held."""

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
    """Whether `ask` is to be called first: `removal` is large, somebody is at a terminal, and hasn't said
    `yes` beforehand.

    Without a question it is said in a warning, except to a script that said `yes`.
    """
    if not removal.is_large:
        return False
    if not yes and _on_terminal():
        return True
    if not yes or sys.stderr.isatty():
        warn([Notice("removal", str(removal))])
    return False


def ask(removal: Removal) -> None:
    """Ask whether to go on.

    Raises KcompileError where the answer isn't yes. Manifests may come from stdin: the answer never does.
    """
    click.echo(f"kcompile: {removal}. Go on? [y/N] ", nl=False, err=True)
    with _TERMINAL.open() as terminal:
        answer = terminal.readline()
    if answer.strip().lower() not in ("y", "yes"):
        raise KcompileError("not confirmed; nothing was changed")


def _on_terminal() -> bool:
    """Whether somebody sees the question, and can answer it."""
    if not sys.stderr.isatty():
        return False
    try:
        _TERMINAL.open().close()
    except OSError:
        return False
    return True
