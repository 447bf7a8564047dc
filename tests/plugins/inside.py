"""The inner pytest of a test machine (uml/remote.py): runs the selected tests and writes each report where
the outer one reads it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Inside"]


class Inside:
    """A plugin of a pytest that was started in a machine with `folder`."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config = config
        self._wanted = set(json.loads((folder / "selection.json").read_text()))
        self._events = (folder / "events.jsonl").open("a")
        config.args = list(dict.fromkeys(nodeid.partition("::")[0] for nodeid in self._wanted))
        # node ids are relative to the root folder, arguments to the one that pytest was started in
        config.args = [str(config.rootpath / path) for path in sorted(config.args)]

    def _say(self, **event: Any) -> None:
        self._events.write(json.dumps(event, default=str) + "\n")
        self._events.flush()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self._wanted]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._say(collect=report.longreprtext)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._say(begin=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._say(report=self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._say(end=nodeid)
