"""Rules removed by hand under a running agent, in several ways: seconds until packets pass again.

    PYTHONPATH=tests:bench python bench/trials/flushes.py --mode iptables-legacy --sync-period 2

In mode nftables the kernel tells of it at once; elsewhere a check every sync period finds it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from right import left

from harness.byhand import removals
from kcompile.kernel.netns import entered
from kcompile_bench.agent.place import place
from kcompile_bench.agent.pods import ask, pods
from kcompile_bench.agent.process import Agent
from kcompile_bench.agent.server import ApiServer
from kcompile_bench.generate import Scale

_WAIT = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="nftables")
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--sync-period", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    scale = Scale(asked.services, 2)
    wrong = 0
    with place(asked.mode) as here, pods(here) as there, ApiServer(scale) as server:
        os.environ |= here.environment
        period = ("--sync-period", str(asked.sync_period))
        with Agent(here, asked.mode, server.kubeconfig(here.folder), period) as agent:
            for _ in range(asked.rounds):
                for name, remove in removals(asked.mode, here.netns).items():
                    began = time.monotonic()
                    remove()
                    right = _until(lambda: not left(server, here, asked.mode), began)
                    answers = _until(lambda: _answers(there.client, scale), began)
                    wrong += right is None or answers is None
                    print(
                        f"{asked.mode}: {name}: rules after {right} s, answers after {answers} s", flush=True
                    )
            print(agent.log()[-1500:])
    return bool(wrong)


def _answers(client: str, scale: Scale) -> bool:
    with entered(client):
        try:
            return all(ask(scale.vip(number), 0.5) for number in range(0, scale.services, 40))
        except OSError:
            return False


def _until(happens: Callable[[], bool], began: float) -> float | None:
    """Seconds from `began` until it happens; None: it doesn't."""
    while time.monotonic() < began + _WAIT:
        if happens():
            return round(time.monotonic() - began, 2)
        time.sleep(0.02)
    return None


if __name__ == "__main__":
    sys.exit(main())
