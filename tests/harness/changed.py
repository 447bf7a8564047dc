"""The tests that reach what has changed: ``make test-changed``.

    python -m harness.changed [--beside main] [--list | --run PYTEST'S OPTIONS...]

Changed is what differs from where this branch left `main`, committed or not, and what git doesn't know yet. A
test file reaches a module that it imports, directly or not, or names as a command does (``python -m NAME``),
and so does each conftest.py above it. What else there is reaches tests by rules of thumb (`_others`): rather
one test more than one less.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .imports import ROOT, imports, modules, names_in

__all__ = ["changed_files", "reaching", "chosen_for"]

_EVERYTHING = ("pyproject.toml", "contrib/dev/setup", "tests/conftest.py", "tests/plugins/")
"""A change there concerns every test."""

_ABOUT_FILES = ("tests/unit/test_project.py", "tests/unit/test_imports.py")
"""Tests that look at all files; they are quick, and always chosen."""

_BPF_READER = "kcompile.kernel.bpf.programs"


def changed_files(beside: str, root: Path = ROOT) -> set[str]:
    """Paths, from `root`, of what is not as on the branch `beside` when this one left it."""

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"error: git {arguments[0]}: {done.stderr.strip()}")
        return [name for name in done.stdout.split("\0") if name]

    (fork,) = "".join(git("merge-base", beside, "HEAD")).split()
    return {*git("diff", "--name-only", "-z", fork), *git("ls-files", "--others", "--exclude-standard", "-z")}


def _graph(root: Path) -> dict[str, set[str]]:
    """What each module uses, of the project's own."""
    known = modules(root)
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        source = path.read_text()
        named = names_in(source, known)
        used = (
            imports(source, name, path.name == "__init__.py") | named | {f"{one}.__main__" for one in named}
        )
        graph[name] = {one for one in _with_packages(used) if one in known}
    return graph


def _with_packages(names: Iterable[str]) -> set[str]:
    """`names`, and the packages that they are in: importing a.b runs a first."""
    found: set[str] = set()
    for name in names:
        parts = name.split(".")
        found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return found


def _closure(start: Iterable[str], graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(start)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += graph.get(name, ())
    return found


def reaching(root: Path = ROOT) -> dict[str, set[str]]:
    """Every test file of the project with the files that it reaches by imports.

    Not through tests/conftest.py, which asks every mode's code what this machine can do, for all tests.
    """
    known, graph = modules(root), _graph(root)
    names = {path: name for name, path in known.items()}
    reach: dict[str, set[str]] = {}
    for path, name in names.items():
        if path.name.startswith("test_"):
            above = [folder / "conftest.py" for folder in path.parents if folder != root / "tests"]
            start = [name, *(names[conftest] for conftest in above if conftest in names)]
            files = {known[one].relative_to(root).as_posix() for one in _closure(start, graph)}
            reach[path.relative_to(root).as_posix()] = files
    return reach


def chosen_for(changed: set[str], root: Path = ROOT) -> list[str]:
    """The test files to run for `changed`."""
    if any(name.startswith(_EVERYTHING) for name in changed):
        return ["tests"]
    reach = reaching(root)
    chosen = {test for test in _ABOUT_FILES if changed and test in reach}
    for test, files in reach.items():
        if files & changed:
            chosen.add(test)
    for name in changed:
        if not name.endswith(".py") or not name.startswith(("compiler/", "bench/", "tests/")):
            chosen |= _others(name, reach, root)
    return sorted(chosen)


def _others(name: str, reach: dict[str, set[str]], root: Path) -> set[str]:
    """Tests for a file that is no module: those in or below its folder, those that name it, and for C those
    that compile it.
    """
    path = Path(name)
    near = [folder.as_posix() for folder in path.parents if folder.as_posix().startswith("tests/")][:1]
    words = (
        {path.name, path.parts[0]}
        if len(path.parts) > 1 and path.parts[0] not in ("tests", "compiler", "bench")
        else {path.name}
    )
    chosen: set[str] = set()
    for test, files in reach.items():
        text = (root / test).read_text()
        if any(test.startswith(f"{folder}/") for folder in near) or any(
            f'"{word}"' in text or f"/{word}" in text for word in words
        ):
            chosen.add(test)
        if path.parts[0] == "bpf" and modules(root)[_BPF_READER].relative_to(root).as_posix() in files:
            chosen.add(test)
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.changed", allow_abbrev=False)
    parser.add_argument("--beside", default="main", metavar="BRANCH")
    parser.add_argument("--list", action="store_true", help="name the tests, run none")
    parser.add_argument("--run", action="store_true", help="run them; what follows is pytest's")
    given, options = parser.parse_known_args()
    chosen = chosen_for(changed_files(given.beside))
    if given.list or not given.run:
        print("\n".join(chosen))
        return 0
    if not chosen:
        print(f"Nothing is changed beside {given.beside}.")
        return 0
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
