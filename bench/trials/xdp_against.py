"""The eBPF programs against those of another checkout, in one run: nanoseconds a packet, and TCP connects.

The other's maps must be among this one's.

``PYTHONPATH=bench python bench/trials/xdp_against.py OTHER/bpf [--rounds N] [--blocks N]``, as root.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path as File
from statistics import median
from unittest import mock

from kcompile.kernel.bpf import programs
from kcompile_bench import latency
from kcompile_bench.generate import PORT, TARGET_PORT, Scale
from kcompile_bench.latency import Condition
from kcompile_bench.packets import FLOWS, HOOKS, Case, Node, node
from kcompile_bench.path import Path
from kcompile_bench.statistics import ratio
from kcompile_bench.workload import Workload
from kcompile_bench.xdp import apply_xdp

SERVICES = 1_000
COUNT = 100_000
CASES = (
    ("direct SYN", 0),
    ("direct ACK", 0),
    ("new", 0),
    ("new, full table", 0),
    *(("established", flows) for flows in FLOWS),
    ("woken", FLOWS[-1]),
)
EMPTY = """
#include "common.h"
int ingress(struct __sk_buff *skb) { return ACTION_PASS; }
int egress(struct __sk_buff *skb) { return ACTION_PASS; }
"""


@contextlib.contextmanager
def sources(folder: File) -> Iterator[None]:
    """Programs are compiled from `folder`."""
    with mock.patch.object(programs, "sources", return_value=folder):
        yield


def empty(name: str, defines: object = (), cache: object = None) -> programs.Objects:
    """Programs that pass everything, in the place of those of `name`."""
    del name, defines, cache
    return programs.compile_text(EMPTY, ["TC"])


def packets(other: File, rounds: int) -> None:
    with node():
        for hook in HOOKS:
            for what, flows in CASES:
                case = Case(hook, what, SERVICES, flows)
                with sources(other):
                    nodes = [Node(SERVICES, flows)]
                nodes.append(Node(SERVICES, flows))
                for one in nodes:
                    one.prepare(case)
                figures: list[list[float]] = [[], []]
                for number in range(rounds):
                    for i in (0, 1) if number % 2 else (1, 0):
                        figures[i].append(nodes[i].figure(case, COUNT))
                before, after = map(min, figures)
                print(
                    f"| {what} | {flows or ''} | {hook} | {before:.0f} | {after:.0f} | {after / before:.2f} |"
                )


def connects(other: File, blocks: int) -> None:
    scale = Scale(SERVICES, 2)
    workload, pods = Workload(scale), scale.pods(SERVICES // 2)
    with contextlib.ExitStack() as stack:

        def conditions(rules: str, sockets: str, served: bool) -> Iterator[Condition]:
            path = stack.enter_context(Path(pods))
            cgroup = apply_xdp(stack, path, workload, sockets) if sockets else None
            yield Condition(rules, "direct", path, pods[0], TARGET_PORT)
            yield Condition(rules, "direct, from the node", path, pods[0], TARGET_PORT, True, cgroup)
            if served:
                yield Condition(rules, "VIP", path, scale.vip(SERVICES // 2), PORT)

        found = [*conditions("no rules", "", False), *conditions("no rules, again", "", False)]
        with mock.patch.object(programs, "compile_file", empty):
            found += conditions("empty programs", "off", False)
        with sources(other):
            found += [*conditions("before", "tcp", True), *conditions("before, no VIP used", "tcp", False)]
        found += [*conditions("after", "tcp", True), *conditions("after, no VIP used", "tcp", False)]
        options = argparse.Namespace(
            blocks=blocks, connections=200, warmup=20, cpu=max(os.sched_getaffinity(0))
        )
        rounds = latency.measure(found, options)
    medians = {key: [median(s.connect for s in block) for block in own] for key, own in rounds.items()}
    for key, own in medians.items():
        floor = medians["no rules", "direct, from the node" if "node" in key[1] else "direct"]
        middle, low, high = ratio(own, floor)
        print(f"| {key[0]} | {key[1]} | {median(own):.1f} | {middle:.2f} ({low:.2f}-{high:.2f}) |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=File)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--blocks", type=int, default=30)
    options = parser.parse_args()
    packets(options.other.absolute(), options.rounds)
    connects(options.other.absolute(), options.blocks)


if __name__ == "__main__":
    main()
