"""Questions a second that ``kcompile dns serve`` answers: ``python -m kcompile_bench.dns [--records 20000]
[--seconds 5]``  (root)

The server and the client that asks it are processes of their own, each on a processor of its own, on the
loopback of a namespace made for them. The client keeps a window of questions under way and counts answers (a
check of each would cost more than the server's work). "first time" asks every name once, each answer made
anew; "again" asks for names at random after that.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import dns.message

from kcompile import spawn
from kcompile.kernel.netns import entered

from .environment import environment
from .generate import Scale, json_text
from .netns import namespaces

_PORT, _LOST = 5353, 2.0  # seconds without an answer after which what is under way counts as lost
_RECORDS_EACH = 3  # of a Service with one named port: A, PTR, SRV


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
    options = parser.parse_args(arguments)
    cpus = sorted(os.sched_getaffinity(0))
    services = -(-options.records // _RECORDS_EACH)
    with tempfile.TemporaryDirectory() as folder, namespaces("dns") as (name,), entered(name):
        spawn.run(["ip", "link", "set", "lo", "up"]).check_returncode()
        path = Path(folder) / "cluster.json"
        path.write_bytes(json_text(Scale(services, 1)))
        command = spawn.python(
            "kcompile", "dns", "serve", "-f", str(path), "--state", f"{folder}/none", "--port", str(_PORT)
        )
        start = time.perf_counter()
        with spawn.popen(
            ["taskset", "-c", str(cpus[0]), *command], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                print(f"{server.stdout.readline().strip()} Ready after {time.perf_counter() - start:.2f} s.")
                os.sched_setaffinity(0, {cpus[-1]})
                names = [f"svc-{number:06d}.default.svc.cluster.local." for number in range(services)]
                questions = [dns.message.make_query(each, "A", use_edns=0).to_wire() for each in names]
                for what, some, count in (
                    ("first time", questions, len(questions)),
                    ("again", random.sample(questions, len(questions)), options.count),
                ):
                    received, seconds = ask(some, count, options.window)
                    print(
                        f"{what:12} {received:8,} answers of {count:8,}  {received / seconds:9,.0f} a second"
                    )
                peak = Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2].split()[0]
                print(f"{'memory':12} {int(peak) / 1024:8.0f} MiB at most")
            finally:
                server.terminate()
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
