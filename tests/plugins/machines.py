"""Runs tests where their kernel is: those that need IPVS in a machine of their own (tests/uml), if this
kernel hasn't got it.

A test is one of them that is marked ``ipvs_kernel``, or marked ``kernel`` with a parameter ``ipvs`` (a mode).
They are collected here, run there, and reported here, with -x, -q, the summary and the exit status as usual.
``ipvs_kernel(machine="tcg")`` asks for a machine that has the other modes too; such tests are slow, get the
marker ``tcg`` and are left out unless ``-m`` names it.

    --machine auto   that (the default)
    --machine here   every test on this kernel
    --machine uml    every selected test in such a machine
    --machine tcg    the same; slow, and every mode is there
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from uml.kernels import KINDS, bootable
from uml.remote import FOLDER, Remote

from .inside import Inside

__all__ = ["MARKER", "kind_of_machine"]

MARKER = "ipvs_kernel"
OUTSIDE = "tests-outside-of-machines"
PATIENCE = {"uml": 300.0, "tcg": 1200.0}


@functools.cache
def ipvs_here() -> bool:
    """Whether this process could use IPVS on this kernel.

    Loads the module where that is all that is missing; that changes no rule.
    """
    if os.geteuid() != 0:
        return False
    table = Path("/proc/net/ip_vs")
    if not table.exists():
        try:
            subprocess.run(["modprobe", "--quiet", "ip_vs"], check=False, capture_output=True)
        except FileNotFoundError:
            return False
    return table.exists()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("machines", "tests in machines of their own")
    group.addoption(
        "--machine",
        choices=("auto", "here", *KINDS),
        default="auto",
        help="where tests run (auto: in uml if they need its IPVS)",
    )
    group.addoption(
        "--machine-patience",
        type=float,
        metavar="SECONDS",
        help="end a machine in which no test begins or ends for so long (default: 300; tcg: 1200)",
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = os.environ.pop(FOLDER, None)  # a pytest that a test starts is on its own
    if folder:
        config.pluginmanager.register(Inside(config, Path(folder)))
    else:
        config.pluginmanager.register(Outside(config), OUTSIDE)


def pytest_itemcollected(item: pytest.Item) -> None:
    parameters = getattr(getattr(item, "callspec", None), "params", {}).values()
    if "ipvs" in parameters and item.get_closest_marker("kernel") and not item.get_closest_marker(MARKER):
        item.add_marker(MARKER)
    if (marker := item.get_closest_marker(MARKER)) and marker.kwargs.get("machine") == "tcg":
        item.add_marker("tcg")


def kind_of_machine(item: pytest.Item) -> str:
    """The kind of machine that `item` has to run in; empty for the one that it is in."""
    outside = item.config.pluginmanager.get_plugin(OUTSIDE)
    return outside.machine_of(item) if outside else ""


class Outside:
    """A plugin of a pytest that was started as usual."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._where: str = config.getoption("machine")
        self._uml, self._instead = bootable("uml")
        self._remotes: dict[str, Remote] = {}
        self._items: list[pytest.Item] = []

    def machine_of(self, item: pytest.Item) -> str:
        """The kind of machine that `item` has to run in; empty for this one."""
        if self._where != "auto":
            return "" if self._where == "here" else self._instead_of(self._where)
        marker = item.get_closest_marker(MARKER)
        return "" if marker is None or ipvs_here() else self._instead_of(marker.kwargs.get("machine", "uml"))

    def _instead_of(self, kind: str) -> str:
        return self._uml if kind == "uml" else kind

    def pytest_report_header(self) -> list[str]:
        return [f"machines: {self._uml} instead of uml: {self._instead}"] if self._instead else []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Tests of machines come last: by then most have been run, for the machine works beside.

        Those of tcg only with ``-m tcg``.
        """
        if self._where == "auto" and "tcg" not in self._config.option.markexpr:
            slow = [
                item for item in items if item.get_closest_marker("tcg") and self.machine_of(item) == "tcg"
            ]
            self._config.hook.pytest_deselected(items=slow)
            items[:] = [item for item in items if item not in slow]
        items.sort(key=self.machine_of)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Start machines now, if there is a CPU for them beside the one that is busy here; the others start
        with their first test.

        A worker of pytest-xdist learns only then which tests are its own (plugins/parallel.py).
        """
        if session.config.option.collectonly or (
            session.testsfailed and not session.config.option.continue_on_collection_errors
        ):
            return
        self._items = session.items
        if hasattr(session.config, "workerinput"):
            return
        kinds = [kind for kind in KINDS if any(self.machine_of(item) == kind for item in session.items)]
        for kind in kinds[: len(os.sched_getaffinity(0)) - 1]:
            self._remote(kind).start()

    def _remote(self, kind: str, first: pytest.Item | None = None) -> Remote:
        """The machine of `kind`, for its tests from `first` on."""
        if kind not in self._remotes:
            begin = self._items.index(first) if first else 0
            chosen = [item for item in self._items[begin:] if self.machine_of(item) == kind]
            patience = self._config.getoption("machine_patience") or PATIENCE[kind]
            self._remotes[kind] = Remote(kind, chosen, self._config, patience)
        return self._remotes[kind]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        kind = self.machine_of(item)
        if not kind:
            return None
        remote = self._remote(kind, item)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in remote.reports(item):
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_unconfigure(self) -> None:
        for remote in self._remotes.values():
            remote.close()
