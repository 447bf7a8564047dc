"""How long a reload keeps the name server from its questions: ``python -m kcompile_bench.dns_steps
[--services 10000]``

The server takes in a change step by step, and looks for questions between two of them. Every object changes,
as in the last attack of `dns_attacks`; the CPU time of each step is taken in one process, without a network.
So the figures hold on a busy machine too, where nobody can tell the server's own pauses from others.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from kcompile.dns import reader
from kcompile.dns.answers import Answerer
from kcompile.dns.collect import Collector, Wanted
from kcompile.dns.follow import Follower
from kcompile.dns.zones import Zones
from kcompile.spec.cluster import ClusterSettings
from kcompile.spec.objects import EndpointSlice, Service

from .dns_attacks import objects
from .environment import environment

__all__ = ["main", "steps"]

_PREPARING = 0.001  # seconds, as follow.py has it


def steps(services: int, reloads: int = 2) -> list[float]:
    """Seconds of CPU of each step, from when the server has its first records."""
    wanted = Wanted(ClusterSettings(), 5)
    collector = Collector(("Service", "EndpointSlice"), wanted, lambda: None, print)
    answerer = Answerer(Zones(wanted.domain, wanted.ttl), ready=False)
    follower = Follower(answerer, _no_source, wanted, print)
    found: list[float] = []
    for turn in range(reloads + 1):
        _list(collector, objects(services, turn))
        batches = [reader.Told(batch) for batch in reader.batches(collector.changes())]
        for message in [msgspec.msgpack.encode(each) for each in (*batches, reader.Told(ready=True))]:
            before = time.thread_time()
            for _ in follower.taking(reader.told(message), lambda: None):
                now = time.thread_time()
                found += [now - before] if turn else []
                before = now
            while answerer.ready and answerer.prepare(_PREPARING):
                pass
    return found


def _no_source() -> Any:
    raise NotImplementedError


def _list(collector: Collector, manifests: Sequence[dict[str, Any]]) -> None:
    for kind, made in (("Service", Service), ("EndpointSlice", EndpointSlice)):
        own = [msgspec.convert(each, made) for each in manifests if each["kind"] == kind]
        collector.listed(kind, own)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.dns_steps",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--services", type=int, default=10_000)
    options = parser.parse_args(arguments)
    taken = [1000 * each for each in steps(options.services)]
    p99 = statistics.quantiles(taken, n=100)[98]
    print(
        f"{options.services:,} Services, all changed twice: {len(taken):,} steps, ms of CPU: p50 "
        f"{statistics.median(taken):.1f}, p99 {p99:.1f}, longest {max(taken):.1f}"
    )
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
