"""What --fast-path flowtable gives a long connection, and what it costs a short one.

Root, and a kernel with flowtables; network namespaces of its own.

``python -m kcompile_bench.fast_path --services 100 --mode nftables [--json FILE]``; where this kernel has
none, from a checkout in an emulated one: ``PYTHONPATH=tests:bench python -m uml --machine tcg -- env
PYTHONPATH=bench python -m kcompile_bench.fast_path``

Each mode has two paths (path.py), one of them with a flowtable, which take turns there and back (ABBA). All
goes through a Service. A ratio compares medians of blocks of the same rounds; "again" is a second path
without, and what it differs by is noise.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as File
from statistics import median
from typing import NamedTuple

import msgspec

from kcompile.kernel import flowtable
from kcompile.kernel.netns import entered
from kcompile.program import diff
from kcompile.targets.flowtable import lower_flowtable

from .environment import environment
from .generate import PORT, Scale
from .latency import serve
from .netns import sysctl
from .path import Path
from .statistics import ratio
from .throughput import block
from .workload import Workload, family_of

__all__ = ["main", "table"]

_PORTS = "61100 65500"  # beside those that Path.block binds
WITHOUT, AGAIN, WITH = "hooks", "hooks, again", "flowtable"


class Way(NamedTuple):
    """A path to measure: `mode` serves `vip` there."""

    mode: str
    name: str
    path: Path
    vip: str


class Options(NamedTuple):
    """How much of each a block is."""

    seconds: float
    connections: int
    exchanges: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.fast_path",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--services", type=int, default=100)
    parser.add_argument("--mode", action="append", choices=["nftables", "iptables-legacy", "iptables-nft"])
    parser.add_argument("--blocks", type=int, default=20, help="rounds")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a bulk transfer takes")
    parser.add_argument("--connections", type=int, default=100, help="short connections in a block")
    parser.add_argument("--exchanges", type=int, default=200, help="questions and answers in a block")
    parser.add_argument("--json", type=File, metavar="FILE")
    given = parser.parse_args(arguments)
    options = Options(given.seconds, given.connections, given.exchanges)
    flowtable.require()
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        ways = list(_ways(stack, Scale(given.services, 2), given.mode or ["nftables", "iptables-legacy"]))
        gc.disable()
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        for number in range(given.blocks):
            for way in ways if number % 2 == 0 else reversed(ways):
                for what, measure in MEASURES.items():
                    figures = found.setdefault((way.mode, what), {})
                    figures.setdefault(way.name, []).append(measure(way, options))
    print(table(found))
    if given.json:
        results = [{"mode": mode, "what": what, **figures} for (mode, what), figures in found.items()]
        given.json.parent.mkdir(parents=True, exist_ok=True)
        data = {"machine": environment(), "services": given.services, "results": results}
        given.json.write_text(json.dumps(data, indent=1) + "\n")


def _ways(stack: contextlib.ExitStack, scale: Scale, modes: Sequence[str]) -> Iterator[Way]:
    service, workload = scale.services // 2, Workload(scale)
    for mode in modes:
        for name in (WITHOUT, AGAIN, WITH):
            path = stack.enter_context(Path(scale.pods(service)))
            sysctl(path.client, {"ipv4/ip_local_port_range": _PORTS})
            serve(stack, path, mode, workload)
            if name == WITH:
                _add_flowtable(path, workload, mode)
            yield Way(mode, name, path, scale.vip(service))


def _add_flowtable(path: Path, workload: Workload, mode: str) -> None:
    dataplane = workload.dataplane(family_of(mode))
    settings = msgspec.structs.replace(dataplane.settings, flowtable=("*",))
    desired = lower_flowtable(msgspec.structs.replace(dataplane, settings=settings))
    with entered(path.node):
        flowtable.apply(diff({}, flowtable.expanded(desired)), desired)


def bulk(way: Way, options: Options) -> float:
    """Gigabits a second of one connection."""
    return block(way.path, way.vip, PORT, options.seconds)


def packets(way: Way, options: Options) -> float:
    """Microseconds of a question and its answer, a byte each, on a connection that is established."""
    with entered(way.path.client):
        client = socket.create_connection((way.vip, PORT))
    with client, way.path.accept() as server:
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return median([_seconds(lambda: _exchange(client, server)) for _ in range(options.exchanges)]) * 1e6


def connect(way: Way, options: Options) -> float:
    """Microseconds of connect()."""
    return median([sample.connect for sample in way.path.block(way.vip, PORT, options.connections, 10)])


def short(way: Way, options: Options) -> float:
    """Microseconds of a connection with one question and answer, from connect() to the last FIN."""

    def whole() -> None:
        with socket.create_connection((way.vip, PORT)) as client, way.path.accept() as server:
            _exchange(client, server)
            server.shutdown(socket.SHUT_WR)
            client.recv(1)
            client.close()
            server.recv(1)

    with entered(way.path.client):
        return median([_seconds(whole) for _ in range(options.connections)]) * 1e6


def _exchange(client: socket.socket, server: socket.socket) -> None:
    client.send(b"?")
    server.recv(1)
    server.send(b"!")
    client.recv(1)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


MEASURES: dict[str, Callable[[Way, Options], float]] = {
    "bulk, Gb/s": bulk,
    "question and answer, us": packets,
    "connect(), us": connect,
    "short connection, us": short,
}


def table(found: dict[tuple[str, str], dict[str, list[float]]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| mode | through a Service | hooks | flowtable | flowtable / hooks (95% interval) | hooks, again |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (mode, what), figures in found.items():
        base = figures[WITHOUT]
        middle, low, high = ratio(figures[WITH], base)
        noise = ratio(figures[AGAIN], base)[0]
        cells = f"{median(base):.4g} | {median(figures[WITH]):.4g} | {middle:.2f} ({low:.2f}-{high:.2f})"
        lines.append(f"| {mode} | {what} | {cells} | {noise:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
