"""What one change costs an agent that holds a mode's driver open, beside the bare messages of that change.

    python -m kcompile_bench.held_messages --scale 10000x2 --bench-mode ipvs --bench-mode xdp

one endpoint   an endpoint of one Service goes, and comes back
new Service    a Service comes that wasn't there
VIP gone       it goes again

From resolved ports to the kernel: the Program kept up to date, then the driver. "Bare" sends the same netlink
messages, or writes the same map entries, and does nothing else; both alternate in one run. Prints a table of
wall clock and CPU in milliseconds. Mode ipvs runs in a machine of the tests' where this kernel has no IPVS.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

from kcompile import spawn
from kcompile.ir.model import ResolvedPort
from kcompile.kernel.bpf import library, pins
from kcompile.kernel.held import Held, hold
from kcompile.kernel.netlink import Netlink
from kcompile.kernel.netns import entered
from kcompile.modes import MODES
from kcompile.passes import resolve_port
from kcompile.targets.base import Incremental

from .generate import Scale, facts, settings
from .ipvs import where_ipvs_is
from .netns import namespaces
from .statistics import quantile
from .workload import Workload

__all__ = ["CHANGES", "Cost", "main", "measure", "table"]

CHANGES = ("one endpoint", "new Service", "VIP gone")
ROUNDS = 100
_HEAD = (
    "| mode | change | p50 ms | p99 ms | CPU p50 ms | bare p50 ms | over bare |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)
_Ports = tuple[list[ResolvedPort], list[ResolvedPort]]
_Call = Callable[[], Any]


class Cost(NamedTuple):
    """Of one kind of change: milliseconds, and those of the bare messages."""

    p50: float
    p99: float
    cpu: float
    bare: float


def measure(mode: str, scale: Scale, rounds: int = ROUNDS) -> dict[str, Cost]:
    """The cost of each of CHANGES in a namespace of its own."""
    work = Workload(scale)
    dataplane = work.dataplane(mode)
    port, fewer = dataplane.ports[work.middle], resolve_port(work.changed, facts(), settings(mode))
    steps: list[tuple[str, _Ports]] = [
        ("one endpoint", ([port], [fewer])),
        ("one endpoint", ([fewer], [port])),
        ("VIP gone", ([port], [])),
        ("new Service", ([], [port])),
    ]
    gc.collect()
    gc.freeze()  # what was made so far is no business of the collector's, as in an agent after its first sync
    with _node() as folder, contextlib.ExitStack() as stack:
        stack.callback(gc.unfreeze)
        driver, kept = MODES[mode].driver(folder / "run" / "held"), MODES[mode].follow(dataplane)
        driver.apply(driver.target.diff(driver.observe(), kept.program))
        held = hold(driver)
        try:
            costs = _measured(kept, held, steps, _RECORDERS[mode], rounds)
            if driver.observe() != kept.program:
                raise RuntimeError(f"mode {mode}: the kernel has another program")
        finally:
            held.close()
            driver.apply(driver.target.diff(driver.observe(), {}))
    return costs


def _measured(
    kept: Incremental,
    held: Held,
    steps: list[tuple[str, _Ports]],
    recorded: Callable[[], contextlib.AbstractContextManager[list[_Call]]],
    rounds: int,
) -> dict[str, Cost]:
    bare: list[list[_Call]] = []
    for _, ports in steps:
        with recorded() as calls:
            held.apply(kept.replace(*ports))
        bare.append(calls)
    walls: dict[str, list[float]] = {change: [] for change in CHANGES}
    cpus: dict[str, list[float]] = {change: [] for change in CHANGES}
    floors: dict[str, list[float]] = {change: [] for change in CHANGES}
    for _ in range(rounds):
        for change, ports in steps:
            start, cpu = time.perf_counter(), time.process_time()
            held.apply(kept.replace(*ports))
            cpus[change].append(time.process_time() - cpu)
            walls[change].append(time.perf_counter() - start)
        for (change, _), calls in zip(steps, bare, strict=True):
            start = time.perf_counter()
            for call in calls:
                call()
            floors[change].append(time.perf_counter() - start)
    return {
        change: Cost(
            *(1000 * x for x in (median(walls[change]), quantile(sorted(walls[change]), 0.99))),
            *(1000 * median(x[change]) for x in (cpus, floors)),
        )
        for change in CHANGES
    }


@contextlib.contextmanager
def _messages() -> Iterator[list[_Call]]:
    """What sends the same netlink messages again."""
    calls: list[_Call] = []
    send = Netlink.send

    def recording(self: Netlink, requests: Any, failed: Any) -> None:
        calls.append(lambda: send(self, requests, lambda *_: None))
        send(self, requests, failed)

    with mock.patch.object(Netlink, "send", recording):
        yield calls


@contextlib.contextmanager
def _entries() -> Iterator[list[_Call]]:
    """What writes the same map entries again, to maps like those."""
    calls: list[_Call] = []
    spare: dict[str, Any] = {}

    def like(fd: Any) -> Any:
        if fd.name not in spare:
            made = library.map_info(fd)
            form = made.key_size, made.value_size, made.max_entries, made.flags
            spare[fd.name] = library.create_map(made.type, *form, fd.name)
        return spare[fd.name]

    def recording(real: Callable[..., Any], *, counted: int) -> Callable[..., Any]:
        def call(fd: Any, *arguments: Any) -> Any:
            if arguments[counted]:
                calls.append(lambda: real(like(fd), *arguments))
            return real(fd, *arguments)

        return call

    with (
        mock.patch.object(library, "update_batch", recording(library.update_batch, counted=2)),
        mock.patch.object(library, "delete_batch", recording(library.delete_batch, counted=1)),
    ):
        yield calls


_RECORDERS: dict[str, Callable[[], contextlib.AbstractContextManager[list[_Call]]]] = {
    "ipvs": _messages,
    "xdp": _entries,
}


@contextlib.contextmanager
def _node() -> Iterator[Path]:
    """In a namespace, with a folder for all that a driver keeps."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
        (folder / "bpf").mkdir()
        pins.mount(folder / "bpf")
        stack.callback(pins.unmount, folder / "bpf")
        stack.enter_context(mock.patch.dict(os.environ, KCOMPILE_BPF_DIR=str(folder / "bpf")))
        (name,) = stack.enter_context(namespaces("held"))
        stack.enter_context(entered(name))
        yield folder


def table(costs: dict[str, dict[str, Cost]]) -> str:
    """`costs`, by mode, in Markdown."""
    lines = [
        f"| {mode} | {change} | {cost.p50:.2f} | {cost.p99:.2f} | {cost.cpu:.2f} | {cost.bare:.2f} "
        f"| {cost.p50 / cost.bare:.1f} |\n"
        for mode, changes in costs.items()
        for change, cost in changes.items()
    ]
    return _HEAD + "".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="What one change costs an agent that holds a driver open.")
    parser.add_argument("--scale", type=Scale.parse, default=Scale(10_000, 2), metavar="SERVICESxENDPOINTS")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--bench-mode", action="append", choices=list(_RECORDERS), metavar="MODE")
    options = parser.parse_args(arguments)
    modes = options.bench_mode or list(_RECORDERS)
    here = [mode for mode in modes if mode != "ipvs" or Path("/proc/net/ip_vs").exists()]
    if here:
        sys.stdout.write(table({mode: measure(mode, options.scale, options.rounds) for mode in here}))
    if here == modes:
        return 0
    more = ("--scale", str(options.scale), "--rounds", str(options.rounds), "--bench-mode", "ipvs")
    return spawn.run(where_ipvs_is(spawn.python("kcompile_bench.held_messages", *more))).returncode


if __name__ == "__main__":
    sys.exit(main())
