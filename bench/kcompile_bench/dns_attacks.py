"""How long other clients wait while one holds up the name server, or everything changes:
``python -m kcompile_bench.dns_attacks [--services 10000] [--seconds 5]``  (root)

A client asks the same question a few hundred times a second; its p50, p99 and longest wait are before, during
and after each attack, in one run. Waits include the client's own turn on a busy machine: the ratio of p99
during to before counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple

import dns.message
import msgspec

from kcompile import spawn
from kcompile.kernel.netns import entered

from .environment import environment
from .generate import Scale, manifests
from .netns import namespaces

__all__ = ["ATTACKS", "Waits", "main", "objects", "table"]

_PORT, _LOST, _PAUSE = 5353, 2.0, 0.002  # seconds
_ENDPOINTS = 2500
_STREAMS = 256
_WHERE = ("127.0.0.1", _PORT)


class Waits(NamedTuple):
    """Seconds that each question of the normal client took; `lost` of them had no answer."""

    seconds: list[float]
    lost: int

    @property
    def p99(self) -> float:
        """Of 100 questions, one waits longer."""
        return statistics.quantiles(self.seconds, n=100)[98]


def _question(name: str, kind: str) -> bytes:
    return dns.message.make_query(f"{name}.default.svc.cluster.local.", kind, use_edns=0).to_wire()


def waits(seconds: float) -> Waits:
    """What the normal client sees for so long."""
    found: list[float] = []
    lost, asked = 0, _question("svc-000000", "A")
    end = time.perf_counter() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(_WHERE)
        sock.settimeout(_LOST)
        while (start := time.perf_counter()) < end:
            sock.send(asked)
            try:
                sock.recv(4096)
                found.append(time.perf_counter() - start)
            except TimeoutError:
                lost += 1
            time.sleep(_PAUSE)
    return Waits(found, lost)


def _large_answers(done: Event, _: Path) -> None:
    """Five questions a second whose answers are as large as they get."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(_WHERE)
        while not done.wait(0.2):
            kind = random.choice(("SRV", "A", "ANY"))
            sock.send(_question(random.choice(("large", "_http._tcp.large")), kind))


def _no_names(done: Event, _: Path) -> None:
    """1,000 questions a second for names that nobody has, each another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(_WHERE)
        while not done.wait(0.01):
            for _ in range(10):
                sock.send(_question(f"{random.getrandbits(60):x}", "A"))


def _silence(done: Event, _: Path) -> None:
    """Connections that send a byte a second."""
    streams = [socket.create_connection(_WHERE) for _ in range(_STREAMS)]
    while not done.wait(1.0):
        for number, stream in enumerate(streams):
            try:
                stream.send(b"\0")
            except OSError:
                streams[number] = socket.create_connection(_WHERE)
    for stream in streams:
        stream.close()


def _reloads(done: Event, path: Path) -> None:
    """Every object is new, again and again."""
    turn = 0
    while not done.is_set():
        turn += 1
        _write(path, turn)
        done.wait(3.0)


ATTACKS: dict[str, Callable[[Event, Path], None]] = {
    f"SRV of {_ENDPOINTS} endpoints": _large_answers,
    "names that nobody has": _no_names,
    f"{_STREAMS} dripping connections": _silence,
    "all Services change": _reloads,
}


def objects(services: int, turn: int) -> list[dict[str, Any]]:
    """Manifests of `services` Services, all other ones in each `turn`, and of a headless one with many
    endpoints.
    """
    found = list(manifests(Scale(services, 1)))
    for each in found:
        if each["kind"] == "Service":
            each["spec"]["ports"][0]["port"] = 80 + turn % 2
    meta = {"name": "large", "namespace": "default"}
    spec = {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}
    found.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    for part in range(_ENDPOINTS // 500):
        addresses = [f"10.{250 + turn % 2}.{part * 2 + n // 250}.{n % 250 + 1}" for n in range(500)]
        found.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": f"large-{part}",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "large"},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [each]} for each in addresses],
                "ports": [{"name": "http", "port": 80}],
            }
        )
    return found


def _write(path: Path, turn: int) -> None:
    """The manifests, prepared by `main`, in one step."""
    (path.parent / "next").write_bytes((path.parent / f"turn{turn % 2}").read_bytes())
    (path.parent / "next").rename(path)


def table(rows: Sequence[tuple[str, Waits, Waits, Waits]]) -> list[str]:
    """A line an attack."""
    lines = [f"{'ms: p50, p99, longest':28} {'before':>20} {'during':>20} {'after':>20}  p99 ratio  lost"]
    for name, *measured in rows:
        columns = [
            f"{statistics.median(w.seconds) * 1e3:5.2f} {w.p99 * 1e3:6.2f} {max(w.seconds) * 1e3:7.2f}"
            for w in measured
        ]
        ratio = measured[1].p99 / measured[0].p99
        lost = sum(w.lost for w in measured)
        lines.append(f"{name:28} {columns[0]:>20} {columns[1]:>20} {columns[2]:>20} {ratio:10.2f} {lost:5}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m kcompile_bench.dns_attacks",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="before, during and after each")
    parser.add_argument("--only", choices=list(ATTACKS), metavar="ATTACK", help="one attack of these")
    options = parser.parse_args(arguments)
    attacks = {options.only: ATTACKS[options.only]} if options.only else ATTACKS
    rows = []
    with tempfile.TemporaryDirectory() as text, namespaces("dns") as (name,), entered(name):
        spawn.run(["ip", "link", "set", "lo", "up"]).check_returncode()
        path = Path(text) / "cluster.json"
        for turn in (0, 1):
            items = {"apiVersion": "v1", "kind": "List", "items": objects(options.services, turn)}
            (path.parent / f"turn{turn}").write_bytes(msgspec.json.encode(items))
        _write(path, 0)
        given = ["-f", str(path), "--state", f"{text}/none", "--port", str(_PORT)]
        command = spawn.python("kcompile", "dns", "serve", *given)
        with spawn.popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                print(server.stdout.readline().strip())
                time.sleep(2)
                for what, attack in attacks.items():
                    before, done = waits(options.seconds), multiprocessing.Event()
                    attacker = multiprocessing.Process(target=attack, args=(done, path))
                    attacker.start()
                    try:
                        during = waits(options.seconds)
                    finally:
                        done.set()
                        attacker.join()
                    rows.append((what, before, during, waits(options.seconds)))
                start = time.perf_counter()
                server.terminate()
                server.wait()
                print(f"Ended {time.perf_counter() - start:.2f} s after SIGTERM.")
            finally:
                server.terminate()
    print("\n".join(table(rows)))
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
