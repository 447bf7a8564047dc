"""Sessions for those who like nox; ``make`` and CI do without it.

All but lint and types need root: ``sudo nox -s tests``.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict."""
    session.install("-e", ".[test]")
    session.run("mypy")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Every test, on each Python that is here."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Real packets, every flow case, every mode."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/conformance", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks of compile, diff, render and apply."""
    session.install("-e", ".[test]")
    session.run("pytest", "bench/suites", "--benchmark-only", *session.posargs)
