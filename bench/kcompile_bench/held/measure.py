"""The changes of an agent, and the same content bare."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple
from unittest import mock

import msgspec

from kcompile.ir.model import ServicePort
from kcompile.kernel.bpf import pins
from kcompile.kernel.drivers import Driver
from kcompile.kernel.held import Held, hold
from kcompile.kernel.netns import entered
from kcompile.modes import MODES
from kcompile.passes import resolve_port
from kcompile.targets.base import Incremental

from ..environment import cpu_seconds
from ..generate import Scale, facts, settings
from ..netns import namespaces
from ..workload import Workload, family_of
from .bare import recorded

__all__ = ["STEPS", "Row", "measure", "table"]

STEPS = ("one endpoint", "one Service")
_HEAD = (
    "| mode | change | first | agent | slowest | bare | agent / bare | agent / first |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


class Cost(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


class Row(NamedTuple):
    """What a mode needs for a change."""

    mode: str
    step: str
    first: Cost
    agent: list[Cost]
    bare: list[Cost]


class _Node(NamedTuple):
    """A mode held open on a node that has its whole Program; `folder` is for files."""

    mode: str
    driver: Driver
    kept: Incremental
    held: Held
    folder: Path
    first: Cost


def measure(mode: str, scale: Scale, rounds: int) -> list[Row]:
    """A row for each of STEPS."""
    workload = Workload(scale)
    port = workload.ports[workload.middle]
    another = msgspec.structs.replace(port, name="default/svc-new:http", cluster_ip=scale.vip(scale.services))
    with _node(mode, workload) as node:
        rows = [
            _row(node, "one endpoint", port, workload.changed, rounds),
            _row(node, "one Service", None, another, rounds),
        ]
        if node.driver.observe() != node.kept.program:
            raise RuntimeError(f"{mode}: the node holds something else than it should")
    return rows


def _row(node: _Node, step: str, before: ServicePort | None, after: ServicePort, rounds: int) -> Row:
    """`after` comes in the place of `before`, and goes again, `rounds` times; only its coming counts."""
    row = Row(node.mode, step, node.first, [], [])
    wanted, kept, held = settings(family_of(node.mode)), node.kept, node.held
    old = [] if before is None else [resolve_port(before, facts(), wanted)]
    new = [resolve_port(after, facts(), wanted)]
    changes, back = kept.replace(old, new), kept.replace(new, old)
    with recorded(node.driver, node.folder, changes) as comes:
        held.apply(changes)
    with recorded(node.driver, node.folder, back) as goes:
        held.apply(back)
    for _ in range(rounds):
        start = _now()
        new = [resolve_port(after, facts(), wanted)]
        held.apply(kept.replace(old, new))
        row.agent.append(_since(start))
        held.apply(kept.replace(new, old))
        row.bare.append(_cost(comes))
        goes()
    return row


@contextlib.contextmanager
def _node(mode: str, workload: Workload) -> Iterator[_Node]:
    """A namespace of its own, with a folder for all that a driver keeps."""
    dataplane = workload.dataplane(family_of(mode))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
        (folder / "bpf").mkdir()
        (folder / "texts").mkdir()
        if mode == "xdp":
            pins.mount(folder / "bpf")
            stack.callback(pins.unmount, folder / "bpf")
        stack.enter_context(mock.patch.dict(os.environ, KCOMPILE_BPF_DIR=str(folder / "bpf")))
        (name,) = stack.enter_context(namespaces("held"))
        stack.enter_context(entered(name))
        driver = MODES[mode].driver(folder / "run" / "held")
        start = _now()
        kept = MODES[mode].follow(dataplane)
        driver.apply(driver.target.diff({}, kept.program))
        first = _since(start)
        gc.collect()
        gc.freeze()  # as in an agent after its first sync
        stack.callback(gc.unfreeze)
        stack.callback(lambda: driver.apply(driver.target.diff(driver.observe(), {})))
        held = hold(driver)
        stack.callback(held.close)
        yield _Node(mode, driver, kept, held, folder / "texts", first)


def _now() -> Cost:
    return Cost(time.perf_counter(), cpu_seconds())


def _since(start: Cost) -> Cost:
    return Cost(time.perf_counter() - start.wall, cpu_seconds() - start.cpu)


def _cost(work: Callable[[], None]) -> Cost:
    start = _now()
    work()
    return _since(start)


def table(rows: Sequence[Row]) -> str:
    """`rows` in Markdown; each cell is wall clock / CPU."""
    lines = []
    for row in rows:
        agent, bare = _median(row.agent), _median(row.bare)
        cells = [
            _milliseconds(row.first),
            _milliseconds(agent),
            f"{1000 * max(cost.wall for cost in row.agent):.2f}",
            _milliseconds(bare),
            _ratio(agent, bare),
            _ratio(agent, row.first),
        ]
        lines.append(f"| {row.mode} | {row.step} | {' | '.join(cells)} |\n")
    return _HEAD + "".join(lines)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(median(values) for values in zip(*costs, strict=True)))


def _milliseconds(cost: Cost) -> str:
    return " / ".join(f"{1000 * value:.2f}" for value in cost)


def _ratio(one: Cost, other: Cost) -> str:
    """Empty where the clock is too coarse, as that of CPU time in User-mode Linux."""
    return " / ".join(f"{a / b:.3f}" if b else "" for a, b in zip(one, other, strict=True))
