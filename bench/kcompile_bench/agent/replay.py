"""The Pods of a hundred nodes restart, node after node: what an agent makes of the events.

    python -m kcompile_bench.agent.replay --scale 10000x2 --mode nftables --nodes 100 --rate 200

Each Pod is two events of its slice: terminating, and another one ready in its place. The Pods of a node
restart together, as they do when it is drained. `--rate 0` replays as fast as the server takes the events.

late  from the last event until the agent's last sync, as its log says
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from kcompile.modes import MODES

from ..environment import environment
from ..generate import NODES, Scale
from .churn import fresh_ips
from .objects import Object, slices
from .place import place
from .process import Agent, Memory
from .server import ApiServer

__all__ = ["Figures", "events", "main", "measure", "table"]

_BATCH = 20  # events that are put together
_QUIET = 2.0  # seconds without a sync: everything is in


class Figures(NamedTuple):
    """One mode. Seconds; `syncs` have made the `changes`; `cpu` is the agent's, of all."""

    mode: str
    events: int
    seconds: float
    late: float
    syncs: int
    changes: int
    cpu: float
    memory: Memory


def events(scale: Scale, nodes: int) -> Iterator[Object]:
    """The slices that change, in order."""
    ips = fresh_ips()
    now = {i: slices(scale, i) for i in range(scale.services)}
    for number in range(nodes):
        name = f"node-{number:03d}"
        here = [
            (parts, at, slot)
            for parts in now.values()
            for at, part in enumerate(parts)
            for slot, each in enumerate(part["endpoints"])
            if each["nodeName"] == name
        ]
        going = {"ready": False, "serving": True, "terminating": True}
        for parts, at, slot in here:
            parts[at] = _with(parts[at], slot, {"conditions": going})
            yield parts[at]
        ready = {"ready": True, "serving": True, "terminating": False}
        for parts, at, slot in here:
            parts[at] = _with(parts[at], slot, {"conditions": ready, "addresses": [next(ips)]})
            yield parts[at]


def _with(part: Object, slot: int, fields: Object) -> Object:
    endpoints = list(part["endpoints"])
    endpoints[slot] = {**endpoints[slot], **fields}
    return {**part, "endpoints": endpoints}


def measure(mode: str, scale: Scale, nodes: int, rate: float) -> Figures:
    """Everything of one mode."""
    with ExitStack() as stack:
        here = stack.enter_context(place(mode))
        server = stack.enter_context(ApiServer(scale))
        agent = stack.enter_context(Agent(here, mode, server.kubeconfig(here.folder)))
        time.sleep(_QUIET)
        first, before = len(agent.syncs()), agent.cpu_seconds()
        began = time.monotonic()
        count = _replay(server, events(scale, nodes), rate)
        ended, took = time.time(), time.monotonic() - began
        known = -1
        while known != len(agent.syncs()):
            known = len(agent.syncs())
            time.sleep(_QUIET)
        syncs = agent.syncs()[first:]
        changes = sum(int(sync["changes"]) for sync in syncs)
        late = max(0.0, _moment(agent.log()) - ended)
        cpu = agent.cpu_seconds() - before
        return Figures(mode, count, took, late, len(syncs), changes, cpu, agent.memory())


def _replay(server: ApiServer, items: Iterable[Object], rate: float) -> int:
    """Put `items`; returns how many there were."""
    due, count = time.monotonic(), 0
    waiting = iter(items)
    while batch := list(islice(waiting, _BATCH)):
        server.put(*batch)
        count += len(batch)
        if rate:
            due += len(batch) / rate
            time.sleep(max(0.0, due - time.monotonic()))
    return count


def _moment(log: str) -> float:
    """That of the last sync, in seconds since the epoch."""
    line = [line for line in log.splitlines() if " synced " in line][-1]
    return datetime.fromisoformat(line.partition(" ")[0]).timestamp()


def table(found: Sequence[Figures]) -> str:
    """`found` in Markdown."""
    lines = [
        "| mode | events | seconds | late ms | syncs | resources written | CPU ms an event | RSS MB, most |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.mode} | {each.events:,} | {each.seconds:.1f} | {1000 * each.late:.0f} | {each.syncs:,} "
        f"| {each.changes:,} | {1000 * each.cpu / each.events:.2f} "
        f"| {each.memory.now:.0f}, {each.memory.peak:.0f} |"
        for each in found
    ]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.agent.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", type=Scale.parse, default=Scale(10_000, 2), metavar="SERVICESxENDPOINTS")
    parser.add_argument("--mode", action="append", choices=MODES, metavar="MODE")
    parser.add_argument("--nodes", type=int, default=NODES, help="whose Pods restart (%(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second (%(default)s)")
    asked = parser.parse_args(arguments)
    machine = environment()
    modes = asked.mode or ["nftables", "iptables-legacy", "xdp"]
    print(table([measure(mode, asked.scale, asked.nodes, asked.rate) for mode in modes]))
    print(f"{asked.scale.title}; load average at the start {machine['load']}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
