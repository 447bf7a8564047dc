"""At the end of a run: the seconds that each folder's tests took, beside the budget that CONTRIBUTING.md
gives it. Fails nothing.

Seconds of set-up, call and tear-down, added up over all workers and machines. A folder without a budget shows
none.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

__all__ = ["budgets", "folder_of", "table"]

ROW = re.compile(r"^\| `(tests/[a-z]+)` \| (\d+) \|", re.MULTILINE)
LEAST = 20
"""Seconds of a run below which nobody needs a table."""


def budgets(text: str) -> dict[str, int]:
    """The rows of CONTRIBUTING.md's table."""
    return {folder: int(seconds) for folder, seconds in ROW.findall(text)}


def folder_of(nodeid: str) -> str:
    return "/".join(nodeid.partition("::")[0].split("/")[:2])


def table(spent: dict[str, float], allowed: dict[str, int]) -> list[str]:
    """A line a folder, the longest first; ``over`` where the budget isn't kept."""
    lines = [f"{'seconds':>8} {'budget':>7}"]
    for folder, seconds in sorted(spent.items(), key=lambda one: -one[1]):
        budget = allowed.get(folder)
        over = "  over" if budget is not None and seconds > budget else ""
        lines.append(f"{seconds:8.1f} {'' if budget is None else budget:>7}  {folder}{over}")
    return lines


class Budget:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._spent: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._spent[folder_of(report.nodeid)] += report.duration  # type: ignore[assignment]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._spent.total() < LEAST:
            return
        page = self._root / "CONTRIBUTING.md"
        allowed = budgets(page.read_text()) if page.exists() else {}
        terminalreporter.section("seconds by folder")
        for line in table(self._spent, allowed):
            terminalreporter.line(line)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Budget(config.rootpath))
