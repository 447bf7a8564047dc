"""What the first ``kcompile apply --mode xdp`` of a node costs, in a namespace of its own.

    python -m kcompile_bench.xdp_start                      5 Services x 2, and 10,000 x 2
    python -m kcompile_bench.xdp_start --scale 1000x10

compiled   an empty node that has no compiled programs (the first time from a checkout; it needs bcc)
first      an empty node that has them (from a wheel; from a checkout, from the second time on)
unchanged  the same file again

Prints a table: wall clock and CPU seconds, peak memory in MB (of the largest process), and each as a ratio to
`first`; the memory of the maps as the kernel states it. From an installed wheel, `compiled` is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kcompile.kernel.bpf import library, pins, programs
from kcompile.targets.xdp import layout

from .generate import NODE, Scale
from .netns import namespaces
from .second_apply import MAX_BYTES, environment, text
from .spawned import Cost, cost_of

__all__ = ["main", "measure"]

_HEAD = (
    "| Services | apply | wall s | CPU s | peak MB | wall / first | CPU / first | maps MB |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def measure(scale: Scale, rounds: int) -> tuple[dict[str, Cost], float]:
    """The cost of each step (of each figure the lowest of `rounds`), and MB of the maps."""
    best: dict[str, Cost] = {}
    size = 0.0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kcbench-")))
        (netns,) = stack.enter_context(namespaces("start"))
        stack.enter_context(environment(folder))
        path = folder / "specs.json"
        path.write_bytes(text(scale, "first"))
        kcompile = (sys.executable, "-m", "kcompile")
        apply = [
            *(*kcompile, "apply", "--yes", "--mode", "xdp", "--netns", netns, "--node", NODE),
            *("--max-input-bytes", str(MAX_BYTES), "--socket-lb", "off", "-f", str(path)),
        ]
        delete = [*kcompile, "delete", "--yes", "--netns", netns]
        pins.mount(folder / "bpf")
        stack.callback(pins.unmount, folder / "bpf")
        stack.callback(cost_of, delete)
        for _ in range(rounds):
            for step in (
                ("first", "unchanged") if programs.shipped().is_dir() else ("compiled", "first", "unchanged")
            ):
                if step == "compiled":
                    shutil.rmtree(programs.cache_directory(), ignore_errors=True)
                if step != "unchanged":
                    cost_of(delete)
                cost = cost_of(apply)
                best[step] = Cost(*map(min, cost, best.get(step, cost)))
        size = _maps_mb(folder / "bpf")
    return best, size


def _maps_mb(folder: Path) -> float:
    """The memory of all maps pinned below `folder`."""
    total = 0
    for path in pins.pins(folder):
        if path.name not in layout.MAPS or (fd := library.obj_get(str(path))) is None:
            continue
        lines = Path(f"/proc/self/fdinfo/{fd.number}").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("memlock:"))
    return total / (1 << 20)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the first apply of mode xdp costs.")
    parser.add_argument("--scale", action="append", type=Scale.parse, metavar="SERVICESxENDPOINTS")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    sys.stdout.write(_HEAD)
    for scale in options.scale or (Scale(5, 2), Scale(10_000, 2)):
        costs, size = measure(scale, options.rounds)
        for step, cost in costs.items():
            figures = f"{cost.wall:.2f} | {cost.cpu:.2f} | {cost.peak_mb:.0f}"
            ratios = " | ".join(f"{a / b:.2f}" for a, b in zip(cost[:2], costs["first"][:2], strict=True))
            sys.stdout.write(f"| {scale} | {step} | {figures} | {ratios} | {size:.0f} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
