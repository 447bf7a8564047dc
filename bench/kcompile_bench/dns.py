"""Questions a second that ``kcompile dns serve`` answers, beside BIND, NSD and dnsmasq:
``python -m kcompile_bench.dns [--records 40000] [--count 200000] [--rounds 1]``  (root)

dnsperf asks, on a processor of its own; each server is pinned to another one, and has one thread or process
that answers, the same records (dnsmasq: the addresses alone), and the loopback of a namespace made for them.
"first" asks every name once, of a server that is started anew and idle; "again" asks for all of them
in another order. Servers take turns in each round, so that a ratio is of the same minutes. CPU is the
server's own, a question, with all of its processes: on a busy machine that ratio says more than the rate.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kcompile import spawn
from kcompile.kernel.netns import entered

from .dns_servers import BIND, PORT, found, missing, started, used
from .environment import environment
from .generate import Scale, json_text
from .netns import namespaces

__all__ = ["Rate", "ask", "main", "parsed", "table"]

_RECORDS_EACH = 4  # of a Service with one named port: A, PTR, and SRV at two names
_WINDOW = {"udp": 64, "tcp": 512}  # questions under way at once
_CONNECTIONS = {"udp": 1, "tcp": 8}
_LOST = 2  # seconds without an answer after which a question counts as lost


class Rate(NamedTuple):
    """`answers` of `asked` questions in `seconds`, for which the server took `cpu` seconds; it held `memory`
    MiB then.
    """

    server: str
    what: str
    asked: int
    answers: int
    seconds: float
    cpu: float
    memory: float


def ask(questions: Path, protocol: str, turns: int, cpu: int) -> tuple[int, int, float]:
    """Ask all of the file `questions`, `turns` times; see `parsed`."""
    clients = ["-c", str(_CONNECTIONS[protocol]), "-T", "1", "-q", str(_WINDOW[protocol])]
    where = ["-s", "127.0.0.1", "-p", str(PORT), "-m", protocol, "-t", str(_LOST)]
    what = ["-d", str(questions), "-n", str(turns), "-e"]
    command = ["taskset", "-c", str(cpu), "dnsperf", *where, *clients, *what]
    done = spawn.run(command, capture_output=True, text=True)
    done.check_returncode()
    return parsed(done.stdout)


def parsed(text: str) -> tuple[int, int, float]:
    """What dnsperf prints: questions, answers, seconds."""
    values = dict(re.findall(r"^\s*(Queries sent|Queries completed|Run time \(s\)):\s+([\d.]+)", text, re.M))
    return int(values["Queries sent"]), int(values["Queries completed"]), float(values["Run time (s)"])


def _settle(pid: int) -> None:
    """Wait until the server has nothing to do any more."""
    before = -1.0
    while (now := used(pid).cpu) - before > 0.002:
        before = now
        time.sleep(0.3)


def _measure(server: str, pid: int, folder: Path, protocol: str, turns: int, cpu: int) -> Iterator[Rate]:
    """First answers, then answers again."""
    _settle(pid)
    for what, number in (("first", 1), ("again", turns)):
        before = used(pid).cpu
        asked, answers, seconds = ask(folder / what, protocol, number, cpu)
        after = used(pid)
        yield Rate(
            server, f"{protocol.upper()} {what}", asked, answers, seconds, after.cpu - before, after.memory
        )


def _write_questions(folder: Path, services: int) -> None:
    names = [f"svc-{number:06d}.default.svc.cluster.local A\n" for number in range(services)]
    (folder / "first").write_text("".join(names))
    (folder / "again").write_text("".join(random.sample(names, services)))


def table(rates: Sequence[Rate]) -> list[str]:
    """A line for each measure and server: the median of the rounds, and how many times BIND's it is."""
    lines = [f"{'':20} {'answers/s':>10} {'µs of CPU':>10} {'MiB':>5}  {'beside BIND: rate, CPU':>22}"]
    for what in dict.fromkeys(rate.what for rate in rates):
        same = [rate for rate in rates if rate.what == what]
        medians = {server: _median(same, server) for server in dict.fromkeys(rate.server for rate in same)}
        for server, (speed, cpu, memory, lost) in medians.items():
            line = f"{what:10} {server:9} {speed:10,.0f} {cpu:10.1f} {memory:5.0f}"
            if server != BIND and BIND in medians:
                line += f"  {speed / medians[BIND][0]:15.2f} {cpu / medians[BIND][1]:6.2f}"
            lines.append(line + (f"  ({lost} lost)" if lost else ""))
    return lines


def _median(rates: Sequence[Rate], server: str) -> tuple[float, float, float, int]:
    """Of one server: answers a second, microseconds of CPU each, MiB, and how many were lost in all."""
    own = [rate for rate in rates if rate.server == server]
    speed = statistics.median(rate.answers / rate.seconds for rate in own)
    cpu = statistics.median(1e6 * rate.cpu / max(rate.answers, 1) for rate in own)
    return speed, cpu, max(rate.memory for rate in own), sum(rate.asked - rate.answers for rate in own)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.dns",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--count", type=int, default=200_000, help="questions asked again")
    parser.add_argument("--rounds", type=int, default=1, help="of each server, in turn")
    options = parser.parse_args(arguments)
    if not spawn.find("dnsperf"):
        parser.error("no dnsperf, which asks the questions (apt-get install dnsperf)")
    print("".join([f"{line}\n" for line in missing()]), end="")
    cpus = sorted(os.sched_getaffinity(0))
    services = -(-options.records // _RECORDS_EACH)
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory() as text, namespaces("dns") as (name,), entered(name):
        spawn.run(["ip", "link", "set", "lo", "up"]).check_returncode()
        folder = Path(text)
        folder.chmod(0o755)
        path = folder / "cluster.json"
        path.write_bytes(json_text(Scale(services, 1)))
        _write_questions(folder, services)
        turns = -(-options.count // services)
        for protocol in tuple(_WINDOW) * options.rounds:
            for which in found():
                with started(which, folder, path, cpus[0]) as server:
                    rates += _measure(which, server.pid, folder, protocol, turns, cpus[-1])
    print("\n".join(table(rates)))
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
