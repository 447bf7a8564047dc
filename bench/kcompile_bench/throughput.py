"""Bulk TCP over veth: straight to a pod without rules, and through a Service.

Root; network namespaces of its own.

``python -m kcompile_bench.throughput --services 10000 --mode xdp --mode nftables [--json FILE]``

Every condition has a path of its own (path.py) and takes turns with the others, there and back (ABBA). A
block is one connection that sends for a while; ratios compare medians of blocks of the same rounds. "no
rules, again" is a second path like the first: noise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path as File
from statistics import median
from typing import Any, NamedTuple

from kcompile.kernel.netns import entered

from .environment import environment
from .generate import PORT, TARGET_PORT, Scale
from .latency import serve
from .path import Path
from .statistics import ratio
from .workload import Workload

__all__ = ["main", "table"]

_PIECE = 1 << 20


class Condition(NamedTuple):
    """A way to send: over `path` to an address."""

    rules: str
    target: str
    path: Path
    address: str
    port: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON where asked."""
    command = "python -m kcompile_bench.throughput"
    parser = argparse.ArgumentParser(
        prog=command, description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=2)
    parser.add_argument(
        "--mode", action="append", choices=["nftables", "iptables-legacy", "iptables-nft", "xdp"]
    )
    parser.add_argument("--blocks", type=int, default=20, help="rounds")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each block sends")
    parser.add_argument("--json", type=File, metavar="FILE")
    options = parser.parse_args(arguments)
    scale = Scale(options.services, options.endpoints)
    machine = environment()
    with contextlib.ExitStack() as stack:
        conditions = list(_conditions(stack, scale, options.mode or ["xdp", "nftables"]))
        rounds: dict[tuple[str, str], list[float]] = {(c.rules, c.target): [] for c in conditions}
        for number in range(options.blocks):
            for c in conditions if number % 2 == 0 else reversed(conditions):
                rounds[c.rules, c.target].append(block(c.path, c.address, c.port, options.seconds))
    floor = next(iter(rounds.values()))
    results = [
        {
            "rules": rules,
            "target": target,
            "gbits": round(median(own), 2),
            "over_no_rules": [round(x, 3) for x in ratio(own, floor)],
        }
        for (rules, target), own in rounds.items()
    ]
    print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps(
                {"machine": machine, "scale": str(scale), "blocks": options.blocks, "results": results},
                indent=1,
            )
            + "\n"
        )


def _conditions(stack: contextlib.ExitStack, scale: Scale, modes: Sequence[str]) -> Iterator[Condition]:
    service = scale.services // 2
    pods = scale.pods(service)
    workload = Workload(scale)
    for rules in ("no rules", "no rules, again"):
        yield Condition(rules, "direct pod", stack.enter_context(Path(pods)), pods[0], TARGET_PORT)
    for mode in modes:
        print(f"{mode}: {scale.services:,} Services ...", file=sys.stderr)
        path = stack.enter_context(Path(pods))
        serve(stack, path, mode, workload)
        yield Condition(mode, "direct pod", path, pods[0], TARGET_PORT)
        yield Condition(mode, "middle VIP", path, scale.vip(service), PORT)


def block(path: Path, address: str, port: int, seconds: float) -> float:
    """Gigabits a second that arrive. The sender is a child in the client's namespace."""
    pid = os.fork()
    if pid == 0:
        try:
            with entered(path.client):
                sender = socket.create_connection((address, port))
            data, end = memoryview(bytes(_PIECE)), time.monotonic() + seconds
            while time.monotonic() < end:
                sender.sendall(data)
            sender.close()
        finally:
            os._exit(0)
    try:
        buffer, received = bytearray(_PIECE), 0
        with path.accept() as connection:
            start = time.monotonic()
            while count := connection.recv_into(buffer):
                received += count
            return received * 8 / (time.monotonic() - start) / 1e9
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = ["| rules | send to | Gb/s | over no rules (95% interval) |", "| --- | --- | --- | --- |"]
    for r in results:
        middle, low, high = r["over_no_rules"]
        lines.append(
            f"| {r['rules']} | {r['target']} | {r['gbits']:.1f} | {middle:.2f} ({low:.2f}-{high:.2f}) |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
