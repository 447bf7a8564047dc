"""What a node's rules add to a TCP connect: through the first, middle and last VIP, and past them straight to
a pod.

``python -m kcompile_bench.latency --services 10000 --mode nftables --mode iptables-legacy``  (root; network
namespaces of its own)

Every condition has a path of its own (path.py). A round runs one block of each, there and back in turn
(ABBA); a ratio compares medians of blocks of the same rounds. "no rules, again" is a second path like the
first: what it differs by is noise. "one NAT rule" is what no proxy of Services can go below: the kernel
tracks connections, and nothing else. "one DNAT rule for the VIP" is what none can go below that translates
there: the same, and the translation of every packet.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path as File
from statistics import median
from typing import Any, NamedTuple

from kcompile import spawn
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.netns import entered

from .environment import environment
from .generate import PORT, TARGET_PORT, Scale
from .path import Path, Sample
from .shapes import PEERS
from .statistics import quantile, ratio
from .workload import Workload, family_of
from .xdp import apply_xdp, inside

__all__ = ["Condition", "main", "measure", "serve", "table"]

FLOOR = ("no rules", "direct pod")
AGAIN = ("no rules, again", "direct pod")
CONNTRACK = ("one NAT rule for another address", "direct pod")
TRANSLATED = ("one DNAT rule for the VIP", "middle VIP")
FROM_NODE = ", from the node"
_OTHER = "ip daddr 192.0.2.1 dnat to 192.0.2.2"
_NAT_RULE = (
    f"table ip other {{ chain prerouting {{ type nat hook prerouting priority -100; {_OTHER}; }}; }}\n"
)


class Condition(NamedTuple):
    """A way to connect: over `path` to an address."""

    rules: str
    target: str
    path: Path
    address: str
    port: int
    own: bool = False  # from the node itself
    cgroup: File | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON where asked."""
    command = "python -m kcompile_bench.latency"
    parser = argparse.ArgumentParser(
        prog=command, description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=2)
    parser.add_argument(
        "--mode", action="append", choices=["nftables", "iptables-legacy", "iptables-nft", "xdp"]
    )
    parser.add_argument(
        "--peer", action="append", choices=[*PEERS, "none"], help="kube-proxy's shape beside (default: both)"
    )
    parser.add_argument(
        "--blocks", type=int, default=40, help="rounds, at least 20 for a result worth quoting"
    )
    parser.add_argument("--connections", type=int, default=200, help="connections in a block")
    parser.add_argument(
        "--warmup", type=int, default=20, help="connections ahead of each block that don't count"
    )
    parser.add_argument(
        "--cpu", type=int, default=max(os.sched_getaffinity(0)), help="the processor that everything runs on"
    )
    parser.add_argument("--json", type=File, metavar="FILE")
    options = parser.parse_args(arguments)
    scale = Scale(options.services, options.endpoints)
    machine = environment()
    with contextlib.ExitStack() as stack:
        conditions = list(
            _conditions(
                stack, scale, options.mode or ["nftables", "iptables-legacy"], options.peer or list(PEERS)
            )
        )
        time.sleep(1)
        rounds = measure(conditions, options)
    results = _results(rounds)
    print(table(results))
    if options.json:
        data = {
            "machine": machine,
            "scale": str(scale),
            "blocks": options.blocks,
            "connections": options.connections,
            "results": results,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(data, indent=1) + "\n")


def _conditions(
    stack: contextlib.ExitStack, scale: Scale, modes: Sequence[str], peers: Sequence[str]
) -> Iterator[Condition]:
    services = {"first VIP": 0, "middle VIP": scale.services // 2, "last VIP": scale.services - 1}
    pods = list(dict.fromkeys(pod for i in services.values() for pod in scale.pods(i)))
    direct = scale.pods(services["middle VIP"])[0]

    def say(text: str) -> None:
        print(f"{text} ...", file=sys.stderr)

    def path() -> Path:
        return stack.enter_context(Path(pods))

    def through(rules: str, path: Path, targets: dict[str, int]) -> Iterator[Condition]:
        path.forget_fast()
        yield Condition(rules, "direct pod", path, direct, TARGET_PORT)
        for target, service in targets.items():
            yield Condition(rules, target, path, scale.vip(service), PORT)

    def also_from_node(condition: Condition) -> Iterator[Condition]:
        yield condition
        if "xdp" in modes:  # whose hooks on sockets are another way than its packets'
            yield condition._replace(target=condition.target + FROM_NODE, own=True)

    for rules, target in (FLOOR, AGAIN):
        yield from also_from_node(Condition(rules, target, path(), direct, TARGET_PORT))
    tracked = path()
    with entered(tracked.node):
        spawn.run(["nft", "-f", "-"], input=_NAT_RULE, text=True).check_returncode()
    for condition in through(CONNTRACK[0], tracked, {}):
        yield from also_from_node(condition)
    translated = path()
    rule = f"ip daddr {scale.vip(services['middle VIP'])} tcp dport {PORT} dnat to {direct}:{TARGET_PORT}"
    with entered(translated.node):
        text = _NAT_RULE.replace(_OTHER, rule)
        spawn.run(["nft", "-f", "-"], input=text, text=True).check_returncode()
    yield from through(TRANSLATED[0], translated, {"middle VIP": services["middle VIP"]})
    full, single = Workload(scale), Workload(Scale(1, scale.endpoints))
    for mode in modes:
        say(f"{mode}: {scale.services:,} Services")
        for workload, targets in ((full, services), (single, {"its VIP": 0})):
            title = mode if workload is full else f"{mode}, 1 Service"
            node = path()
            cgroup = serve(stack, node, mode, workload)
            for condition in through(title, node, targets):
                condition = condition._replace(cgroup=cgroup)
                yield from also_from_node(condition) if mode == "xdp" else (condition,)
            if mode == "xdp" and workload is full:
                node = path()
                apply_xdp(stack, node, workload, sockets="off")
                yield Condition(
                    f"{title}, sockets off",
                    "last VIP" + FROM_NODE,
                    node,
                    scale.vip(services["last VIP"]),
                    PORT,
                    own=True,
                )
    for name in peers:
        if name in PEERS:
            say(f"{name} as kube-proxy has it: {scale.services:,} Services")
            node = path()
            with entered(node.node):
                PEERS[name].load(PEERS[name].cold(scale))
            yield from through(f"{name}, {PEERS[name].name}", node, services)


def serve(stack: contextlib.ExitStack, path: Path, mode: str, workload: Workload) -> File | None:
    """Have the node of `path` serve `workload` in `mode` until `stack` closes; returns the cgroup that mode
    xdp's hooks are in.
    """
    if mode == "xdp":
        return apply_xdp(stack, path, workload)
    with entered(path.node):
        driver = driver_for(mode)
        program = workload.program(family_of(mode))
        changes = driver.target.diff(driver.observe(), program)
        driver.apply(changes)
    return None


def measure(
    conditions: Sequence[Condition], options: argparse.Namespace
) -> dict[tuple[str, str], list[list[Sample]]]:
    """The blocks of each condition, by its rules and target."""
    found: dict[tuple[str, str], list[list[Sample]]] = {(c.rules, c.target): [] for c in conditions}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {options.cpu})
    gc.collect()
    gc.disable()
    try:
        for number in range(options.blocks):
            for c in conditions if number % 2 == 0 else reversed(conditions):
                with inside(c.cgroup):
                    found[c.rules, c.target].append(
                        c.path.block(c.address, c.port, options.connections, options.warmup, c.own)
                    )
    finally:
        gc.enable()
        os.sched_setaffinity(0, before)
    return found


def _results(rounds: dict[tuple[str, str], list[list[Sample]]]) -> list[dict[str, Any]]:
    def medians(key: tuple[str, str]) -> list[float]:
        return [median(sample.connect for sample in block) for block in rounds[key]]

    results = []
    for key, blocks in rounds.items():
        where = FROM_NODE if key[1].endswith(FROM_NODE) else ""
        floor, conntrack = (medians((rules, target + where)) for rules, target in (FLOOR, CONNTRACK))
        samples = [sample for block in blocks for sample in block]
        times = sorted(sample.connect for sample in samples)
        figures = {f"p{int(q * 100)}": round(quantile(times, q), 2) for q in (0.1, 0.5, 0.99)}
        own = medians(key)
        over_dnat = None if where else [round(x, 3) for x in ratio(own, medians(TRANSLATED))]
        results.append(
            {
                "rules": key[0],
                "target": key[1],
                **figures,
                "over_no_rules": [round(x, 3) for x in ratio(own, floor)],
                "over_nat_rule": [round(x, 3) for x in ratio(own, conntrack)],
                "over_dnat_rule": over_dnat,
                "rtt": median(sample.rtt for sample in samples),
                "retransmits": sum(sample.retransmits for sample in samples),
            }
        )
    return results


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        (
            "| rules | connect to | p10 us | p50 us | p99 us "
            "| over no rules (95% interval) | over one NAT rule | over one DNAT rule |"
        ),
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        times = f"{r['p10']:.1f} | {r['p50']:.1f} | {r['p99']:.1f}"
        ratios = " | ".join(
            f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})" if found else "-"
            for found in (r["over_no_rules"], r["over_nat_rule"], r["over_dnat_rule"])
        )
        lines.append(f"| {r['rules']} | {r['target']} | {times} | {ratios} |")
    if lost := sum(r["retransmits"] for r in results):
        lines.append(f"\n{lost} SYNs were sent again.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
