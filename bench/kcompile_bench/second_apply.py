"""``kcompile apply`` by command, once and again, in a namespace of its own: what a second apply costs beside
the first.

    python -m kcompile_bench.second_apply                                   every mode, 10,000 x 2
    python -m kcompile_bench.second_apply --scale 1000x10 --bench-mode xdp

first         on an empty node
unchanged     the same file again
one endpoint  one endpoint of one Service gone
one Service   one Service more

Prints a table: wall clock and CPU (user and system, the programs that it starts included) in seconds, peak
memory in MB, and each as a ratio to the first apply. Mode ipvs runs in a machine of the tests' where this
kernel has no IPVS: only its ratios mean anything there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kcompile import spawn
from kcompile.kernel.bpf import pins
from kcompile.modes import MODES

from . import ipvs
from .generate import NODE, Scale, manifests
from .netns import namespaces
from .spawned import Cost, cost_of

__all__ = ["MAX_BYTES", "environment", "main", "measure", "rows", "table", "text"]

STEPS = ("first", "unchanged", "one endpoint", "one Service")
_EVERY = [mode for mode in MODES if mode != "iptables"]  # that is one of its variants
MAX_BYTES = 256 << 20
_HEAD = (
    "| mode | apply | wall s | CPU s | peak MB | wall / first | CPU / first | peak / first |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def measure(mode: str, scale: Scale) -> dict[str, Cost]:
    """The cost of each step, by its name."""
    costs: dict[str, Cost] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
        (netns,) = stack.enter_context(namespaces("second"))
        stack.enter_context(environment(folder))
        kcompile = (sys.executable, "-m", "kcompile")
        path = folder / "specs.json"
        apply = [
            *(*kcompile, "apply", "--yes", "--mode", mode, "--netns", netns, "--node", NODE),
            *("--max-input-bytes", str(MAX_BYTES), "-f", str(path)),
        ]
        delete = [*kcompile, "delete", "--yes", "--netns", netns]
        if MODES[mode].sees_interfaces:
            pins.mount(folder / "bpf")
            stack.callback(pins.unmount, folder / "bpf")
            apply += ["--socket-lb", "off"]
            path.write_bytes(text(Scale(1, 1), STEPS[0]))
            cost_of(apply)  # compiles the programs, once for a machine
            cost_of(delete)
        stack.callback(cost_of, delete)
        for step in STEPS:
            path.write_bytes(text(scale, step))
            costs[step] = cost_of(apply)
    return costs


def rows(mode: str, scale: Scale) -> str:
    """The table's rows for `mode`, measured where the mode works. RuntimeError where it failed."""
    if mode != "ipvs":
        return _rows(mode, measure(mode, scale))
    command = spawn.python("kcompile_bench.second_apply", "--here", mode, "--scale", str(scale))
    done = spawn.run(ipvs.where_ipvs_is(command), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mode {mode}: {done.stderr.strip()}")
    return str(done.stdout)


def table(costs: dict[str, dict[str, Cost]]) -> str:
    """`costs`, by mode, in Markdown."""
    return _HEAD + "".join(_rows(mode, steps) for mode, steps in costs.items())


def _rows(mode: str, steps: dict[str, Cost]) -> str:
    lines = []
    for step, cost in steps.items():
        figures = f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.peak_mb:.0f}"
        ratios = " | ".join(f"{a / b:.2f}" for a, b in zip(cost, steps[STEPS[0]], strict=True))
        lines.append(f"| {mode} | {step} | {figures} | {ratios} |\n")
    return "".join(lines)


def text(scale: Scale, step: str) -> bytes:
    """The specs of `step`, spaced as ``kubectl get -o json`` prints them."""
    if step == "one Service":
        scale = scale._replace(services=scale.services + 1)
    items: list[dict[str, Any]] = list(manifests(scale))
    if step == "one endpoint":
        slices = [item for item in items if item["kind"] == "EndpointSlice"]
        slices[len(slices) // 2]["endpoints"].pop()
    text = msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": items})
    return msgspec.json.format(text, indent=4)


@contextlib.contextmanager
def environment(folder: Path) -> Iterator[None]:
    """Everything that the command keeps is below `folder`."""
    before = dict(os.environ)
    for name in ("run", "state", "bpf", "cache"):
        (folder / name).mkdir(mode=0o700)
        os.environ[f"KCOMPILE_{name.upper()}_DIR"] = str(folder / name)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="What a second apply costs beside the first.")
    parser.add_argument("--scale", type=Scale.parse, default=Scale(10_000, 2), metavar="SERVICESxENDPOINTS")
    parser.add_argument("--bench-mode", action="append", choices=MODES, metavar="MODE")
    parser.add_argument("--here", choices=MODES, metavar="MODE", help="the rows of this mode, measured here")
    options = parser.parse_args(arguments)
    if options.here:
        sys.stdout.write(_rows(options.here, measure(options.here, options.scale)))
        return
    sys.stdout.write(_HEAD)
    for mode in options.bench_mode or _EVERY:
        sys.stdout.write(rows(mode, options.scale))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
