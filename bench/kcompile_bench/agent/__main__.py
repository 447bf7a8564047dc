"""``kcompile run`` beside an API server (kcompile.apiserver) on loopback, in a namespace of its own.

    python -m kcompile_bench.agent --scale 10000x2 --mode nftables --mode iptables-legacy --mode xdp
    python -m kcompile_bench.agent --scale 10000x2 --mode ipvs     where IPVS is, or in User-mode Linux

start    from exec to the first sync, as systemd is told it
changes  each alone, from just before the write to the server's store until the rule is in the kernel
         (seen.py says how that is seen); *wire* is until a bare client of the same server has the event
memory   resident, after the first sync and after the changes, and the peak of all
idle     CPU over some seconds without a change
restart  over unchanged rules: after kill -9, and after SIGTERM, when the agent has noted what it left
bare     the mode's own tool with the text of the same change, wall clock / CPU, and the change over it

Prints tables in Markdown: wall clock, CPU (the programs that the agent runs included), and ratios.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from kcompile.kernel.generation import generation
from kcompile.kernel.netns import entered
from kcompile.modes import MODES

from ..environment import environment
from ..generate import Scale
from ..statistics import quantile
from .bare import Cost, bare_costs
from .change import CHANGES, Took, Wire, changes, one_after_another
from .machine import in_machine
from .place import Place, place
from .process import Agent, Memory
from .seen import seen
from .server import ApiServer

__all__ = ["main"]

_UNSEEN = {("iptables-legacy", "endpoint replaced")}  # the number of rules stays


class Restart(NamedTuple):
    """A start over unchanged rules. `changes`: resources that it wrote; `transactions` of nf_tables."""

    seconds: float
    cpu: float
    changes: int
    transactions: int


class Figures(NamedTuple):
    """One mode. Seconds; `took` and `cpu`, of one change, by kind of change; `idle` as a share of one CPU."""

    mode: str
    start: tuple[float, float]
    memory: tuple[Memory, Memory]
    took: dict[str, list[Took]]
    cpu: dict[str, float]
    idle: float
    restarts: dict[str, Restart]
    stop: float
    bare: dict[str, Cost]


def measure(mode: str, scale: Scale, asked: argparse.Namespace) -> Figures:
    """Everything of one mode."""
    with ExitStack() as stack:
        here = stack.enter_context(place(mode))
        if MODES[mode].sees_interfaces:
            _compiled(here, mode)
        server = stack.enter_context(ApiServer(scale))
        kubeconfig = server.kubeconfig(here.folder)
        with Agent(here, mode, kubeconfig) as agent:
            time.sleep(asked.settle)
            first = agent.memory()
            took, cpu = _changes(server, here, agent, scale, asked)
            time.sleep(asked.settle)
            idle = _idle(agent, asked.idle)
            memory = agent.memory()
            start = agent.seconds, agent.cpu
            agent.stop(signal.SIGKILL)
        restarts = {}
        for after in ("kill -9", "SIGTERM"):
            restarts[after], stop = _again(here, mode, kubeconfig)
        bare = bare_costs(here, mode, scale, asked.bare)
    return Figures(mode, start, (first, memory), took, cpu, idle, restarts, stop, bare)


def _compiled(here: Place, mode: str) -> None:
    """Have mode xdp's programs compiled, which is done once for a machine."""
    with ApiServer(Scale(1, 1)) as server, Agent(here, mode, server.kubeconfig(here.folder)):
        pass


def _changes(
    server: ApiServer, here: Place, agent: Agent, scale: Scale, asked: argparse.Namespace
) -> tuple[dict[str, list[Took]], dict[str, float]]:
    took, cpu = {}, {}
    with Wire(server) as wire, seen(here, agent.mode) as kernel:
        for kind in CHANGES:
            if (agent.mode, kind) in _UNSEEN:
                continue
            before = agent.cpu_seconds()
            source = changes(kind, server, scale)
            took[kind] = one_after_another(kernel, wire, source, asked.events, asked.pause)
            cpu[kind] = (agent.cpu_seconds() - before) / asked.events
            source.close()
    return took, cpu


def _idle(agent: Agent, seconds: float) -> float:
    before = agent.cpu_seconds()
    time.sleep(seconds)
    return (agent.cpu_seconds() - before) / seconds


def _again(here: Place, mode: str, kubeconfig: Path) -> tuple[Restart, float]:
    with entered(here.netns):
        before = generation() or 0
    with Agent(here, mode, kubeconfig) as agent:
        with entered(here.netns):
            after = generation() or 0
        wrote = sum(int(sync["changes"]) for sync in agent.syncs())
        return Restart(agent.seconds, agent.cpu, wrote, after - before), agent.stop()


def table(found: Sequence[Figures]) -> str:
    """`found` in Markdown: a table of the process, and one of the changes."""
    process = [
        "| mode | start s, wall / CPU | RSS MB, first / after / peak | idle CPU % | SIGTERM s "
        "| restart after | s, wall / CPU | resources written | transactions |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    change = [
        "| mode | change | in kernel ms, p50 / p99 / most | wire ms, p50 | CPU ms | bare ms | over bare |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        first, last = each.memory
        cells = (
            f"{each.mode} | {each.start[0]:.2f} / {each.start[1]:.2f} "
            f"| {first.now:.0f} / {last.now:.0f} / {last.peak:.0f} | {100 * each.idle:.2f} | {each.stop:.2f}"
        )
        for after, again in each.restarts.items():
            times = f"{again.seconds:.2f} / {again.cpu:.2f}"
            process.append(f"| {cells} | {after} | {times} | {again.changes} | {again.transactions} |")
            cells = " |  |  |  | "
        change += [_row(each, kind, took) for kind, took in each.took.items()]
    return "\n".join([*process, "", *change, ""])


def _row(each: Figures, kind: str, took: Sequence[Took]) -> str:
    rules = sorted(1000 * one.rule for one in took)
    wire = sorted(1000 * one.wire for one in took)
    middle = quantile(rules, 0.5)
    cpu, tool = 1000 * each.cpu[kind], " | "
    if kind in each.bare:
        bare = each.bare[kind]._replace(wall=1000 * each.bare[kind].wall, cpu=1000 * each.bare[kind].cpu)
        tool = f"{bare.wall:.1f} / {bare.cpu:.1f} | {middle / bare.wall:.2f} / {cpu / bare.cpu:.2f}"
    return (
        f"| {each.mode} | {kind} | {middle:.1f} / {quantile(rules, 0.99):.1f} / {rules[-1]:.1f} "
        f"| {quantile(wire, 0.5):.1f} | {cpu:.1f} | {tool} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.agent",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", type=Scale.parse, default=Scale(10_000, 2), metavar="SERVICESxENDPOINTS")
    parser.add_argument("--mode", action="append", choices=MODES, metavar="MODE")
    parser.add_argument("--events", type=int, default=200, help="of each kind of change (%(default)s)")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between two (%(default)s)")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds without a change (%(default)s)")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds of rest before them (%(default)s)")
    parser.add_argument("--bare", type=int, default=10, help="rounds of the bare tool (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser.parse_args(given)
    asked.events += asked.events % 2  # what is gone comes back
    modes = asked.mode or ["nftables", "iptables-legacy", "xdp"]
    if "ipvs" in modes and (code := in_machine("kcompile_bench.agent", given)) is not None:
        return code
    machine = environment()
    found = [measure(mode, asked.scale, asked) for mode in modes]
    print(table(found))
    print(f"{asked.scale.title}; load average at the start {machine['load']}, kernel {machine['kernel']}.")
    if asked.json:
        data: dict[str, Any] = {"machine": machine, "scale": str(asked.scale)}
        data["modes"] = [each._asdict() for each in found]
        asked.json.write_text(json.dumps(data, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
