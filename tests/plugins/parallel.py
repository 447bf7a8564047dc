"""Tests on several CPUs (pytest-xdist, ``-n auto``): what stays together, in which order it goes out, and
what runs alone.

A unit is what one worker runs in a row. They go out in the order of the collection, which is

    1. the tests of each machine (plugins/machines.py): the longest. Their worker waits while the machine
       has a CPU.
    2. files, but a test of the kernel that shares no set-up with others is a unit of its own, and those that
       can't run beside each other, as they look for what is left of any, are one: ``together("bench")``
    3. tests marked ``alone``, which measure or flood: nothing else runs meanwhile, on whatever worker

A run's folder, which the workers share, holds the units that they found, the locks, and eBPF objects
(harness/ebpf.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .machines import kind_of_machine

__all__ = ["RUN", "Turns", "folder_of_run", "unit_of"]

RUN = "KCOMPILE_TESTS_RUN"
"""The variable that names the run's folder."""

ALONE, TOGETHER = "alone", "together"


def folder_of_run() -> Path:
    """The folder that all processes of this run share."""
    return Path(os.environ[RUN])


def workers() -> int:
    """One a CPU that this process may use."""
    return len(os.sched_getaffinity(0))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{ALONE}: measures or floods; runs last, while no other test runs")
    config.addinivalue_line(
        "markers", f"{TOGETHER}(name): runs on the same worker as all others of that name, never beside them"
    )
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Worker(config))
        return
    before = os.environ.get(RUN)  # that of a run whose test started this one
    folder = tempfile.mkdtemp(prefix="kctest-run-")
    os.environ[RUN] = folder

    def end() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(RUN, None)
        if before is not None:
            os.environ[RUN] = before

    config.add_cleanup(end)


def alone(item: pytest.Item) -> bool:
    return item.get_closest_marker(ALONE) is not None


def unit_of(item: pytest.Item) -> str:
    """The name of the unit that `item` is in."""
    if kind := kind_of_machine(item):
        return f"machine {kind}"
    if alone(item):
        return ALONE
    if marker := item.get_closest_marker(TOGETHER):
        return f"{TOGETHER} {marker.args[0]}"
    file = item.nodeid.partition("::")[0]
    if shared := _set_up_together(item):
        return f"{file} {shared}"
    return item.nodeid if item.get_closest_marker("kernel") else file


def _set_up_together(item: pytest.Item) -> str:
    """The module's fixtures that `item` uses, with their parameters; empty where there are none."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 (pytest has no public way to a fixture's scope)
    names = sorted(name for name, found in definitions.items() if found[-1].scope == "module")
    return ", ".join(f"{name}={parameters[name]}" if name in parameters else name for name in names)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """After every other plugin has chosen and sorted: put what runs alone last, and let the controller know
    the units.
    """
    yield
    spread = hasattr(config, "workerinput")
    # in one process, machines work beside the other tests, and their results are asked for at the end
    items.sort(
        key=lambda item: (alone(item), not kind_of_machine(item) if spread else bool(kind_of_machine(item)))
    )
    if spread:
        temporary = folder_of_run() / f"units-{os.environ['PYTEST_XDIST_WORKER']}"
        temporary.write_text(json.dumps({item.nodeid: unit_of(item) for item in items}))
        temporary.replace(folder_of_run() / "units.json")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whatever --dist says: other ways would take a machine's tests apart."""
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):  # type: ignore[misc]
        """Hands out units as the workers named them, in the order of the collection."""

        def schedule(self) -> None:
            units = folder_of_run() / "units.json"
            # no worker writes it where there is nothing to collect: pytest then says so itself
            self.units = json.loads(units.read_text()) if units.exists() else {}
            super().schedule()

        def _split_scope(self, nodeid: str) -> str:
            return str(self.units[nodeid])

    config.option.loadscopereorder = False
    return Units(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that -x or --maxfail ended has failed, status 1 as in one process; pytest-xdist calls it
    interrupted.
    """
    limit = session.config.option.maxfail
    if limit and session.testsfailed >= limit and session.exitstatus == pytest.ExitCode.INTERRUPTED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_finish() -> None:
    """The objects of thousands of collected tests stay: no garbage collection looks at them again, nor
    copies their memory in a process that a test forks.
    """
    gc.collect()
    gc.freeze()


class Turns:
    """Who may run: several tests beside each other, or one alone.

    Fair to the one: from when it waits, no other test begins.
    """

    def __init__(self, folder: Path) -> None:
        self._files = contextlib.ExitStack()
        self._door, self._room = (
            self._files.enter_context((folder / name).open("wb")) for name in ("door.lock", "room.lock")
        )

    def close(self) -> None:
        self._files.close()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        fcntl.flock(self._door, fcntl.LOCK_SH)
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)
            fcntl.flock(self._door, fcntl.LOCK_UN)


class Worker:
    """A plugin of each worker: a test takes its turn."""

    def __init__(self, config: pytest.Config) -> None:
        self._turns = Turns(folder_of_run())
        config.add_cleanup(self._turns.close)
        self._machine = contextlib.ExitStack()
        """Holds the turn of a machine's tests, from the first to the last: it works on between them."""
        self._machine_works = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        kind = kind_of_machine(item)
        with contextlib.ExitStack() as turn:
            if alone(item) and not kind:
                turn.enter_context(self._turns.alone())
            elif not kind:
                turn.enter_context(self._turns.beside())
            elif not self._machine_works:
                self._machine.enter_context(self._turns.beside())
                self._machine_works = True
            try:
                return (yield)
            finally:
                if kind and (nextitem is None or kind_of_machine(nextitem) != kind):
                    self._machine.close()
                    self._machine_works = False
