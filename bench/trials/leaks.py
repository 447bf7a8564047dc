"""What an agent holds after many changes: descriptors, threads, memory; what it takes when nothing happens;
how soon it ends.

    PYTHONPATH=tests:bench python bench/trials/leaks.py --mode nftables --changes 10000

Prints a line every tenth of the changes. *idle* is a share of one CPU. *ends*: seconds from SIGTERM to the
end, when nothing happens, and at several moments of a start that writes half of the rules anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from right import left

from kcompile_bench.agent.objects import replaced, slices
from kcompile_bench.agent.place import Place, place
from kcompile_bench.agent.process import Agent
from kcompile_bench.agent.server import ApiServer
from kcompile_bench.generate import Scale

_MOMENTS = (0.4, 0.6, 0.8, 0.9, 1.0)  # of a start


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="nftables")
    parser.add_argument("--changes", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=500.0, help="changes a second (%(default)s)")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds (%(default)s)")
    asked = parser.parse_args()
    scale = Scale(asked.services, 2)
    with place(asked.mode) as here, ApiServer(scale) as server:
        with Agent(here, asked.mode, server.kubeconfig(here.folder)) as agent:
            print(f"{asked.mode}: {_held(agent)} after {agent.seconds:.1f} s")
            for tenth in range(10):
                _change(server, scale, range(tenth, asked.changes, 10), asked.rate)
                print(f"{asked.mode}: {_held(agent)} after {tenth + 1} tenths of the changes", flush=True)
            time.sleep(3.0)
            before = agent.cpu_seconds()
            time.sleep(asked.idle)
            idle = (agent.cpu_seconds() - before) / asked.idle
            rest = left(server, here, asked.mode)
            ends = [agent.stop()]
        ends += _ends(server, here, asked.mode, scale)
    print(
        f"{asked.mode}: idle {idle:.2%}; ends after {', '.join(f'{s:.2f}' for s in ends)} s; left {rest[:3]}"
    )
    return bool(rest)


def _held(agent: Agent) -> str:
    proc = Path(f"/proc/{agent.pid}")
    descriptors, threads = (len(list((proc / name).iterdir())) for name in ("fd", "task"))
    return f"{descriptors} descriptors, {threads} threads, {agent.memory().now:.1f} MB"


def _change(server: ApiServer, scale: Scale, numbers: range, rate: float) -> None:
    """An endpoint is replaced, or back."""
    due = time.monotonic()
    for number in numbers:
        part = slices(scale, number * 7919 % scale.services)[-1]
        server.put(replaced(part, f"10.254.{number >> 8 & 255}.{number & 255}") if number % 20 < 10 else part)
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))


def _ends(server: ApiServer, here: Place, mode: str, scale: Scale) -> list[float]:
    """Seconds from SIGTERM to the end of agents that have begun to write."""
    kubeconfig = server.kubeconfig(here.folder)
    found: list[float] = []
    for turn, moment in enumerate(_MOMENTS):
        with Agent(here, mode, kubeconfig) as whole:
            start = whole.seconds
        for i in range(0, scale.services, 2):
            server.put(replaced(slices(scale, i)[-1], f"10.253.{turn}.{i & 255}"))
        with Agent(here, mode, kubeconfig, waits=False) as agent:
            time.sleep(start * moment)
            found.append(agent.stop())
    return found


if __name__ == "__main__":
    sys.exit(main())
