"""pytest's tests in a machine: the outer half.

The inner half is `plugins/inside.py`; between them is a folder with

selection.json  node ids to run, written before the start
events.jsonl    one JSON object a line, appended as things happen:
                {"begin": NODEID}, {"report": SERIALISED}, {"end": NODEID}, {"collect": TEXT OF A COLLECTION
                ERROR}
output          what the inner pytest printed
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from .run import Machine, MachineError

__all__ = ["FOLDER", "Remote"]

FOLDER = "KCOMPILE_TESTS_INSIDE"
"""The variable that tells a pytest that it is the inner one, and where the folder is."""

POLL = 0.05


def _in_one_process(config: pytest.Config) -> list[str]:
    """The option against workers of pytest-xdist: a machine has one CPU."""
    return ["-n0"] if config.pluginmanager.hasplugin("xdist") else []


class Remote:
    """One machine that runs `items`; `reports` gives what the inner pytest reported of each, as it comes."""

    def __init__(self, kind: str, items: list[pytest.Item], config: pytest.Config, patience: float) -> None:
        self.kind, self._config, self._patience = kind, config, patience
        self._folder = Path(tempfile.mkdtemp(prefix="tests-inside-"))
        (self._folder / "selection.json").write_text(json.dumps([item.nodeid for item in items]))
        (self._folder / "events.jsonl").touch()
        self._output = (self._folder / "output").open("wb")
        self._events = (self._folder / "events.jsonl").open("rb")
        self._partial = b""
        self._reports: dict[str, list[pytest.TestReport]] = defaultdict(list)
        self._ended: set[str] = set()
        self._running = self._trouble = ""
        self._started = self._said = False
        self._heard = 0.0
        # a machine's file is soon gone
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._machine = Machine(
            [
                sys.executable,
                "-m",
                "pytest",
                *map(str, config.invocation_params.args),
                *_in_one_process(config),
            ],
            kind=kind,
            writable=[self._folder],
            directory=config.invocation_params.dir,
            environment=environment | {FOLDER: str(self._folder), "PYTEST_DEBUG_TEMPROOT": "/run"},
        )

    def start(self) -> None:
        """Boot, unless that has been done.

        A machine that can't be had fails its tests, when they are asked for.
        """
        if self._started:
            return
        self._started, self._heard = True, time.monotonic()
        try:
            self._machine.start(self._output, self._output)
        except (MachineError, OSError) as error:
            self._trouble = str(error)

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The reports of `item`: those of the inner pytest, and a failure of our own where the machine didn't
        get to its end.
        """
        self.start()
        while item.nodeid not in self._ended:
            yield from self._reports.pop(item.nodeid, [])
            alive = self._machine.poll() and not self._trouble
            if self._read() or alive:
                continue
            if item.nodeid not in self._ended:
                yield self._failure(item)
                return
        yield from self._reports.pop(item.nodeid, [])

    def close(self) -> None:
        """End the machine, whatever it is doing."""
        self._machine.close()
        self._output.close()
        self._events.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self) -> bool:
        """Take in what was written since, or wait a moment; says whether there was something."""
        data = self._events.read()
        if not data:
            if self._machine.poll() and time.monotonic() > self._heard + self._patience:
                self._trouble = f"the machine was stopped: nothing happened in it for {self._patience:g} s"
                self._machine.stop()
            elif self._machine.poll():
                time.sleep(POLL)
            return False
        self._heard = time.monotonic()
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return True

    def _take(self, event: dict) -> None:
        if "begin" in event:
            self._running = event["begin"]
        elif "end" in event:
            self._ended.add(event["end"])
            self._running = ""
        elif "collect" in event:
            self._trouble += f"\ncollection in the machine failed:\n{event['collect']}"
        else:
            report = self._config.hook.pytest_report_from_serializable(
                config=self._config, data=event["report"]
            )
            # JSON knows no tuples, and a skip's place and reason is one
            if isinstance(report.longrepr, list):
                report.longrepr = tuple(report.longrepr)
            self._reports[report.nodeid].append(report)

    def _failure(self, item: pytest.Item) -> pytest.TestReport:
        what = "was running in" if item.nodeid == self._running else "was not run by"
        text = f"{item.nodeid} {what} a machine ({self.kind}) that ended. {self._why()}"
        return pytest.TestReport(
            item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", text, "call"
        )

    def _why(self) -> str:
        """What is known of the machine's end; at length once, for the first test that it failed."""
        if self._said:
            return "Why: see the first of these failures."
        self._said = True
        self._machine.stop()
        printed = (self._folder / "output").read_text(errors="replace").splitlines()[-40:]
        parts = [
            self._trouble.strip(),
            "--- the end of the kernel's log:",
            self._machine.log(),
            "--- the end of what pytest printed:",
            *printed,
        ]
        return "\n".join(parts)
