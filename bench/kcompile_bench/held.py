"""What one change costs a process that follows a node, as an agent does, beside a first apply and beside the
bare tool with the same text.

    python -m kcompile_bench.held --scale 10000x2 --bench-mode nftables --bench-mode iptables-legacy

one endpoint  one endpoint of one Service goes
one Service   one Service more

first  everything is lowered and written to an empty node
agent  the changed port is resolved and lowered, and the driver held open writes what has changed
bare   ``nft -f`` or ``iptables-legacy-restore --noflush`` with the very text that the agent wrote

Agent and bare tool take turns in one namespace. Prints a table: medians of wall clock and CPU (user and
system, the programs that are started included) in milliseconds, the agent's slowest, and ratios.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

from kcompile import spawn
from kcompile.kernel.drivers import Driver, driver_for
from kcompile.kernel.held import hold
from kcompile.kernel.netns import entered
from kcompile.modes import MODES
from kcompile.passes import resolve_port
from kcompile.program import Change

from .environment import cpu_seconds
from .generate import Scale, facts, settings
from .netns import namespaces
from .workload import Workload, family_of

__all__ = ["MODES_WITH_A_TOOL", "Row", "main", "measure", "table", "tool"]

MODES_WITH_A_TOOL = ("nftables", "iptables-legacy", "iptables-nft")
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


def measure(mode: str, scale: Scale, rounds: int) -> list[Row]:
    """A row for each step."""
    workload = Workload(scale)
    family = family_of(mode)
    dataplane, wanted = workload.dataplane(family), settings(family)
    here = dataplane.ports[workload.middle]
    another = msgspec.structs.replace(
        workload.ports[workload.middle], name="default/svc-new:http", cluster_ip=scale.vip(scale.services)
    )
    with ExitStack() as stack:
        (name,) = stack.enter_context(namespaces("held"))
        stack.enter_context(entered(name))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
        driver = driver_for(mode)
        start = _now()
        kept = MODES[mode].follow(dataplane)
        driver.apply(driver.target.diff({}, kept.program))
        first = _since(start)
        gc.freeze()  # what lives on is looked at no more
        stack.callback(gc.unfreeze)
        held = hold(driver)
        stack.callback(held.close)
        rows: list[Row] = []
        for step in STEPS:
            service, old = (workload.changed, [here]) if step == "one endpoint" else (another, [])
            rows.append(row := Row(mode, step, first, [], []))
            for _ in range(rounds):
                start = _now()
                new = [resolve_port(service, facts(), wanted)]
                changes = kept.replace(old, new)
                held.apply(changes)
                row.agent.append(_since(start))
                back = kept.replace(new, old)
                held.apply(back)
                row.bare.append(_cost(tool(driver, changes, folder)))
                tool(driver, back, folder)()
        if driver.observe() != kept.program:
            raise RuntimeError(f"{mode}: the node holds something else than it should")
        return rows


def tool(driver: Driver, changes: Sequence[Change], folder: Path) -> Callable[[], None]:
    """What makes `changes` with the mode's own tool."""
    commands = []
    for family, text in driver.target.scripts(changes).items():
        path = folder / family
        path.write_text(text)
        restore = {"ip4": "iptables", "ip6": "ip6tables"}.get(family, "")
        backend = driver.name.partition("-")[2]
        words = [f"{restore}-{backend}-restore", "--noflush"] if restore else ["nft", "-f"]
        commands.append([*spawn.located(words), str(path)])

    def run() -> None:
        for command in commands:
            subprocess.run(command, check=True)

    return run


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
            f"{1000 * max(cost.wall for cost in row.agent):.1f}",
            _milliseconds(bare),
            _ratio(agent, bare),
            _ratio(agent, row.first),
        ]
        lines.append(f"| {row.mode} | {row.step} | {' | '.join(cells)} |\n")
    return _HEAD + "".join(lines)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(median(values) for values in zip(*costs, strict=True)))


def _milliseconds(cost: Cost) -> str:
    return " / ".join(f"{1000 * value:.1f}" for value in cost)


def _ratio(one: Cost, other: Cost) -> str:
    return " / ".join(f"{a / b:.3f}" for a, b in zip(one, other, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="What one change costs an agent.")
    parser.add_argument("--scale", type=Scale.parse, default=Scale(10_000, 2), metavar="SERVICESxENDPOINTS")
    parser.add_argument("--bench-mode", action="append", choices=MODES_WITH_A_TOOL, metavar="MODE")
    parser.add_argument("--rounds", type=int, default=30, help="of each change (%(default)s)")
    options = parser.parse_args(arguments)
    modes = options.bench_mode or ["nftables", "iptables-legacy"]
    rows = [row for mode in modes for row in measure(mode, options.scale, options.rounds)]
    sys.stdout.write(table(rows))


if __name__ == "__main__":
    main()
