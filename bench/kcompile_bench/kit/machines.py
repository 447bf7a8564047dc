"""A run inside a machine of its own, where this kernel lacks a mode: User-mode Linux (``uml``) or an emulated
one (``tcg``).

They belong to the tests (tests/uml), so this works from a checkout. The same command runs in there, and
writes into the same folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kcompile import spawn
from kcompile.errors import UnsupportedError

from .drive import program

__all__ = ["MACHINES", "WITHIN", "run_in_machine"]

WITHIN = "KCOMPILE_BENCH_WITHIN"
"""Tells the command inside which kind of machine that is, for its record."""

MACHINES = ("uml", "tcg")
_TESTS = Path(__file__).resolve().parents[3] / "tests"
_SECONDS = 24 * 3600


def run_in_machine(kind: str, folder: Path) -> int:
    """Run this command in a machine of `kind`, one of MACHINES; returns its exit status. `folder` is written
    to from inside.
    """
    if not (_TESTS / "uml").is_dir():
        raise UnsupportedError(f"--place {kind} needs a checkout of kcompile: tests/uml isn't here")
    folder.mkdir(parents=True, exist_ok=True)
    arguments = _inside(sys.argv[1:])
    variables = [f"{WITHIN}={kind}", f"XDG_CACHE_HOME={Path(program()).parent.parent}"]
    inner = [*spawn.located(["env"]), *variables, *spawn.python("kcompile", *arguments)]
    machine = (
        "--machine",
        kind,
        "--time",
        str(_SECONDS),
        "--memory",
        "2048",
        "--write",
        str(folder.absolute()),
    )
    return spawn.run(spawn.python("uml", *machine, "--", *inner, path=_TESTS), cwd=Path.cwd()).returncode


def _inside(arguments: list[str]) -> list[str]:
    """`arguments` without --place."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument.startswith("--place="):
            skip = False
        elif argument == "--place":
            skip = True
        else:
            kept.append(argument)
    return kept
