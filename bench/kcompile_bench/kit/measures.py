"""One block of each kind of measure: what it runs, and the figures that it gives.

connect     blocking connect(), one after the other: p10, p50, p99 (ns by the wall clock), rtt (TCP_INFO, ns)
handshake   the same, with the kernel's own time from SYN_SENT to ESTABLISHED beside it (handshake.py)
crr         connect, request, answer, close, in a closed loop: rate (1/s), cpu (ns a connection, both ends)
rr          requests over persistent connections: rate, cpu (ns a request)
rate        requests at a fixed rate, timed from when each was due: p50, p99 (ns), answered (share of due)
stream      iperf3 over TCP: mbps, retransmits
udp         iperf3 over UDP as fast as it goes: mbps, lost (percent); with single endpoints only, since
            iperf3's two connections have to reach the same one
wrk         HTTP over persistent connections: rate, p50, p99 (ns)
sockperf    TCP ping-pong: p50, p99 (ns, one way)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from kcompile import spawn
from kcompile.errors import KcompileError, UnsupportedError

from ..generate import TARGET_PORT
from .cluster import Cluster, Target
from .drive import Server, finish, run
from .handshake import Handshakes
from .histogram import Histogram
from .scenario import Measure

__all__ = ["KINDS", "LOWER", "Block", "Kind"]

Block = dict[str, Any]
"""``figures`` by name, and where there are any ``histogram``, ``failures``, ``retransmits``, ``error``."""

LOWER = frozenset({"p10", "p50", "p99", "rtt", "kernel_p50", "cpu", "lost"})
"""Figures of which less is better; of the others more is."""

WARMUP_CONNECTIONS = 10
_WARMUP = 0.005
_PATIENCE = 20.0


class Work(NamedTuple):
    """The parameters of one block: `first` numbers its connections, `spin` is an injected slowdown in ns."""

    cluster: Cluster
    target: Target
    measure: Measure
    server: Server
    tool: Any
    first: int = 0
    spin: int = 0


class Kind(NamedTuple):
    """`primary`: the figure that answers use.

    `prepare` makes what a stage shares; raises UnsupportedError if it can't.
    """

    primary: str
    figures: tuple[str, ...]
    server: Callable[[Cluster], Server]
    block: Callable[[Work], Block]
    prepare: Callable[[], AbstractContextManager[Any]] = nullcontext


def _troubles(found: Mapping[str, Any]) -> Block:
    troubles: Block = {name: found[name] for name in ("retransmits", "error") if found.get(name)}
    if failures := found.get("failures", 0) + found.get("unanswered", 0):
        troubles["failures"] = failures
    return troubles


def _connect(work: Work) -> Block:
    found = run(
        work.cluster, "connect", work.target, work.first, work.measure.count, WARMUP_CONNECTIONS, work.spin
    )
    work.server.account()
    figures = {name: found[name] for name in ("p10", "p50", "p99", "rtt")} if found["count"] else {}
    return {"figures": figures, "count": found["count"], "histogram": found["histogram"], **_troubles(found)}


def _handshake(work: Work) -> Block:
    handshakes: Handshakes = work.tool
    handshakes.read()
    block = _connect(work)
    kernel = handshakes.read()
    if kernel.total:
        block["figures"]["kernel_p50"] = round(kernel.quantile(0.5))
    block["kernel_count"] = kernel.total
    return block


def _load(work: Work) -> tuple[dict[str, Any], dict[str, int]]:
    measure = work.measure
    before = work.server.account()["cpu"]
    arguments = (
        measure.concurrency,
        measure.seconds,
        _WARMUP,
        measure.rate,
        int(measure.keepalive),
        work.spin,
    )
    found = run(work.cluster, "load", work.target, *arguments)
    # the server's share of the warm-up goes with it
    return found, {
        "server_cpu": round(
            (work.server.account()["cpu"] - before) * measure.seconds / (measure.seconds + _WARMUP)
        )
    }


def _closed_loop(work: Work) -> Block:
    found, server = _load(work)
    figures: dict[str, float] = {}
    if found["count"]:
        figures["rate"] = round(found["count"] / found["seconds"], 1)
        figures["cpu"] = round((found["client_cpu"] + server["server_cpu"]) / found["count"])
    return {"figures": figures, "count": found["count"], "histogram": found["histogram"], **_troubles(found)}


def _open_loop(work: Work) -> Block:
    found, _ = _load(work)
    figures: dict[str, float] = {}
    if found["count"]:
        histogram = Histogram(found["histogram"])
        figures = {"p50": round(histogram.quantile(0.5)), "p99": round(histogram.quantile(0.99))}
        figures["answered"] = round(
            found["count"] / max(1, found["count"] + found["failures"] + found["unanswered"]), 4
        )
    return {"figures": figures, "count": found["count"], "histogram": found["histogram"], **_troubles(found)}


def _pinned(cluster: Cluster, which: int) -> tuple[str, ...]:
    cpu = cluster.cpus[which]
    return () if cpu < 0 else ("taskset", "--cpu-list", str(cpu))


def _client(work: Work, *command: str) -> str:
    return finish(work.cluster.start(work.target.role, command), _PATIENCE, command[0])


def _iperf(work: Work, *options: str) -> dict[str, Any]:
    target, measure = work.target, work.measure
    to = ("-c", target.address, "-p", str(target.port), "-B", target.source)
    printed = _client(
        work,
        *_pinned(work.cluster, 0),
        "iperf3",
        *to,
        "-J",
        "-n",
        f"{measure.megabytes}M",
        "-P",
        str(measure.streams),
        *options,
    )
    found: dict[str, Any] = json.loads(printed)
    if "error" in found:
        raise KcompileError(f"iperf3: {found['error']}")
    return found["end"]


def _stream(work: Work) -> Block:
    end = _iperf(work)
    return {
        "figures": {"mbps": round(end["sum_received"]["bits_per_second"] / 1e6, 1)},
        "tcp_retransmits": end["sum_sent"]["retransmits"],
    }


def _udp(work: Work) -> Block:
    end = _iperf(work, "-u", "-b", "0", "-l", "1400")["sum"]
    lost = end["lost_percent"]
    return {
        "figures": {"mbps": round(end["bits_per_second"] / 1e6 * (1 - lost / 100), 1), "lost": round(lost, 2)}
    }


_UNITS = {"us": 1e3, "ms": 1e6, "s": 1e9}


def _wrk(work: Work) -> Block:
    measure, target = work.measure, work.target
    options = (
        "-t",
        "1",
        "-c",
        str(measure.concurrency),
        "-d",
        f"{max(1, round(measure.seconds))}s",
        "--latency",
    )
    printed = _client(
        work, *_pinned(work.cluster, 0), "wrk", *options, f"http://{target.address}:{target.port}/"
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    found = {
        q: float(v) * _UNITS[unit]
        for q, v, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", printed, re.MULTILINE)
    }
    if not rate or len(found) < 2:
        raise KcompileError(f"wrk: {' '.join(printed.split())[:200]}")
    errors = re.search(r"Socket errors: (.*)", printed)
    block: Block = {"figures": {"rate": float(rate[1]), "p50": round(found["50"]), "p99": round(found["99"])}}
    return block | ({"error": errors[1], "failures": 1} if errors else {})


def _sockperf(work: Work) -> Block:
    measure, target = work.measure, work.target
    options = ("-i", target.address, "-p", str(target.port), "-t", str(max(1, round(measure.seconds))))
    printed = _client(work, *_pinned(work.cluster, 0), "sockperf", "pp", "--tcp", *options)
    found = dict(re.findall(r"percentile (50|99)\.000 =\s+([\d.]+)", printed))
    if len(found) < 2:
        raise KcompileError(f"sockperf: {' '.join(printed.split())[-200:]}")
    return {"figures": {f"p{q}": round(float(us) * 1000) for q, us in found.items()}}


def _needs(tool: str) -> Callable[[], AbstractContextManager[Any]]:
    def prepare() -> AbstractContextManager[Any]:
        if not spawn.find(tool):
            raise UnsupportedError(f"{tool} is missing (apt-get install {tool})")
        return nullcontext()

    return prepare


def _lazy(cluster: Cluster) -> Server:
    return Server(cluster, lazy=True)


def _iperf_server(cluster: Cluster) -> Server:
    return Server(cluster, command=(*_pinned(cluster, 1), "iperf3", "-s", "-p", str(TARGET_PORT)))


def _sockperf_server(cluster: Cluster) -> Server:
    return Server(cluster, command=(*_pinned(cluster, 1), "sockperf", "sr", "--tcp", "-p", str(TARGET_PORT)))


KINDS: dict[str, Kind] = {
    "connect": Kind("p50", ("p50", "p99", "rtt"), _lazy, _connect),
    "handshake": Kind("kernel_p50", ("kernel_p50", "p50", "rtt"), _lazy, _handshake, Handshakes),
    "crr": Kind("rate", ("rate", "cpu"), Server, _closed_loop),
    "rr": Kind("rate", ("rate", "cpu"), Server, _closed_loop),
    "rate": Kind("p99", ("p50", "p99", "answered"), Server, _open_loop),
    "stream": Kind("mbps", ("mbps",), _iperf_server, _stream, _needs("iperf3")),
    "udp": Kind("mbps", ("mbps", "lost"), _iperf_server, _udp, _needs("iperf3")),
    "wrk": Kind("rate", ("rate", "p50", "p99"), Server, _wrk, _needs("wrk")),
    "sockperf": Kind("p50", ("p50", "p99"), _sockperf_server, _sockperf, _needs("sockperf")),
}
