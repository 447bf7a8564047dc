"""Questions a second that ``kcompile dns serve`` answers: ``python -m kcompile_bench.dns [--records 20000]
[--count 200000]``  (root)

Each server and the client that asks it are processes of their own, each on a processor of its own, on the
loopback of a namespace made for them. The client keeps a window of questions under way and counts answers (a
check of each would cost more than the server's work). "first" asks every name once, of a server that is idle;
"again" asks for names at random after that. BIND serves the same records beside it where it is installed, one
after the other in each round, so that a ratio is of the same minutes. CPU is the server's own, a question:
on a busy machine that ratio says more than the rate.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import dns.message

from kcompile import spawn
from kcompile.kernel.netns import entered

from .environment import environment
from .generate import Scale, json_text
from .netns import namespaces

__all__ = ["BIND", "OWN", "Rate", "ask", "ask_streams", "main", "servers", "table"]

OWN, BIND = "kcompile", "BIND"
_PORT, _LOST = 5353, 2.0  # seconds without an answer after which what is under way counts as lost
_RECORDS_EACH = 4  # of a Service with one named port: A, PTR, and SRV at two names
_CONNECTIONS = 8
_TICK = os.sysconf("SC_CLK_TCK")


class Rate(NamedTuple):
    """`answers` of `asked` questions in `seconds`, for which the server took `cpu` seconds."""

    server: str
    what: str
    asked: int
    answers: int
    seconds: float
    cpu: float


def ask(questions: Sequence[bytes], count: int, window: int) -> tuple[int, float]:
    """Ask `count` of `questions` in turn, `window` at once; returns the number of answers and the seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", _PORT))
        sock.settimeout(_LOST)
        sent = received = 0
        start = time.perf_counter()
        try:
            while received < count:
                while sent < count and sent - received < window:
                    sock.send(questions[sent % len(questions)])
                    sent += 1
                sock.recv(4096)
                received += 1
        except TimeoutError:
            pass
        return received, time.perf_counter() - start


def ask_streams(questions: Sequence[bytes], count: int, window: int) -> tuple[int, float]:
    """As `ask`, over TCP: `window` questions at once on each of a few connections, one connection after the
    other.
    """
    framed = [len(question).to_bytes(2) + question for question in questions]
    received, start = 0, time.perf_counter()
    with ExitStack() as stack:
        streams = []
        for _ in range(_CONNECTIONS):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", _PORT), timeout=_LOST))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            streams.append((sock, stack.enter_context(sock.makefile("rb", buffering=65536))))
        at = 0
        try:
            while received < count:
                for sock, _ in streams:
                    batch = [framed[(at + n) % len(framed)] for n in range(window)]
                    sock.sendall(b"".join(batch))
                    at += window
                for _, stream in streams:
                    for _ in range(window):
                        stream.read(int.from_bytes(stream.read(2)))
                        received += 1
        except TimeoutError:
            pass
    return received, time.perf_counter() - start


@contextmanager
def servers(
    folder: Path, manifests: Path, cpu: int
) -> Iterator[dict[str, Callable[[], subprocess.Popen[str]]]]:
    """How to start each server that there is, on processor `cpu`. BIND has the zones that we render."""
    given = ["-f", str(manifests), "--state", f"{folder}/none"]
    pinned = ["taskset", "-c", str(cpu)]

    def own() -> subprocess.Popen[str]:
        command = spawn.python("kcompile", "dns", "serve", *given, "--port", str(_PORT))
        server = spawn.popen([*pinned, *command], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        print(server.stdout.readline().strip())
        return server

    def bind() -> subprocess.Popen[str]:
        command = ["named", "-f", "-n", "1", "-c", f"{folder}/named.conf"]
        server = spawn.popen([*pinned, *command], stderr=subprocess.DEVNULL, text=True)
        _wait_for_answers()
        return server

    found = {OWN: own}
    if spawn.find("named"):
        _write_zones(folder, given)
        found[BIND] = bind
    yield found


def _write_zones(folder: Path, given: Sequence[str]) -> None:
    """The files of named: its configuration, and a zone file each."""
    command = spawn.python("kcompile", "dns", "render", *given, "--address", "127.0.0.1")
    text: str = spawn.run(command, capture_output=True, text=True).stdout
    lines = [
        f'options {{ directory "{folder}"; recursion no; listen-on port {_PORT} {{ 127.0.0.1; }};',
        "  listen-on-v6 { none; }; pid-file none; session-keyfile none; dnssec-validation no;",
        "  notify no; rrset-order { order random; }; };",
        "controls { }; logging { category default { null; }; };",
    ]
    for zone in text.split("$ORIGIN ")[1:]:
        name = zone.partition("\n")[0].rstrip(".")
        (folder / f"db.{name}").write_text(f"$ORIGIN {zone}")
        lines.append(f'zone "{name}" {{ type primary; file "{folder}/db.{name}"; }};')
    (folder / "named.conf").write_text("\n".join(lines) + "\n")


def _wait_for_answers() -> None:
    question = dns.message.make_query("cluster.local.", "SOA").to_wire()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.1)
        for _ in range(300):
            sock.connect(("127.0.0.1", _PORT))
            try:
                sock.send(question)
                if sock.recv(4096)[3] & 15 == 0:
                    return
            except OSError:
                time.sleep(0.05)
    raise RuntimeError("the server doesn't answer")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _settle(pid: int) -> None:
    """Wait until the server has nothing to do any more."""
    before = -1.0
    while (now := _cpu_seconds(pid)) != before:
        before = now
        time.sleep(0.3)


def _measure(server: str, pid: int, names: int, count: int, window: int) -> Iterator[Rate]:
    """First and warm answers over UDP, then over TCP."""
    _settle(pid)
    made = [
        dns.message.make_query(f"svc-{n:06d}.default.svc.cluster.local.", "A", use_edns=0)
        for n in range(names)
    ]
    questions = [query.to_wire() for query in made]
    again = random.sample(questions, len(questions))
    for what, some, number, asking in (
        ("UDP first", questions, len(questions), ask),
        ("UDP again", again, count, ask),
        ("TCP again", again, count - count % (window * _CONNECTIONS) or window * _CONNECTIONS, ask_streams),
    ):
        before = _cpu_seconds(pid)
        answers, seconds = asking(some, number, window)
        yield Rate(server, what, number, answers, seconds, _cpu_seconds(pid) - before)


def table(rates: Sequence[Rate]) -> list[str]:
    """A line for each server and measure: the median round, and its ratio to BIND's."""
    lines = [f"{'':10} {'':10} {'answers/s':>10} {'µs of CPU':>10}  beside BIND: rate, CPU"]
    medians: dict[tuple[str, str], tuple[float, float]] = {}
    for server, what in dict.fromkeys((rate.server, rate.what) for rate in rates):
        own = [rate for rate in rates if (rate.server, rate.what) == (server, what)]
        lost = sum(rate.asked - rate.answers for rate in own)
        medians[server, what] = (
            statistics.median(rate.answers / rate.seconds for rate in own),
            statistics.median(1e6 * rate.cpu / max(rate.answers, 1) for rate in own),
        )
        lines.append(
            f"{server:10} {what:10} {medians[server, what][0]:10,.0f} {medians[server, what][1]:10.1f}"
        )
        if lost:
            lines[-1] += f"  ({lost} lost)"
    for server, what in medians:
        if server == OWN and (BIND, what) in medians:
            (rate, cpu), (other, other_cpu) = medians[OWN, what], medians[BIND, what]
            ratio = other_cpu / cpu if cpu else 0.0
            lines.append(f"{'ratio':10} {what:10} {rate / other:10.2f} {ratio:10.2f}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.dns",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--count", type=int, default=200_000, help="questions asked again")
    parser.add_argument("--window", type=int, default=64, help="questions under way at once")
    parser.add_argument("--rounds", type=int, default=1, help="of each server, in turn")
    options = parser.parse_args(arguments)
    cpus = sorted(os.sched_getaffinity(0))
    services = -(-options.records // _RECORDS_EACH)
    rates: list[Rate] = []
    with tempfile.TemporaryDirectory() as text, namespaces("dns") as (name,), entered(name):
        spawn.run(["ip", "link", "set", "lo", "up"]).check_returncode()
        folder = Path(text)
        folder.chmod(0o755)
        path = folder / "cluster.json"
        path.write_bytes(json_text(Scale(services, 1)))
        with servers(folder, path, cpus[0]) as found:
            os.sched_setaffinity(0, {cpus[-1]})
            for _ in range(options.rounds):
                for which, start in found.items():
                    with start() as server:
                        try:
                            rates += _measure(which, server.pid, services, options.count, options.window)
                            peak = Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2]
                            print(f"{which}: {int(peak.split()[0]) / 1024:.0f} MiB at most")
                        finally:
                            server.terminate()
    print("\n".join(table(rates)))
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
