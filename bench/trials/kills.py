"""The agent killed at any moment and started again, while endpoints change and connections begin.

    PYTHONPATH=tests:bench python bench/trials/kills.py --mode nftables --kills 50

It is killed some time after its start: before its first sync, in it, or soon after it. Every Pod answers all
the time, so no connection may fail. In the end an agent makes everything right.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time

from right import left

from kcompile_bench.agent.churn import Churn, fresh_ips
from kcompile_bench.agent.place import place
from kcompile_bench.agent.pods import pods
from kcompile_bench.agent.process import Agent
from kcompile_bench.agent.server import ApiServer
from kcompile_bench.agent.traffic import Traffic
from kcompile_bench.generate import Scale


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="nftables")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--rate", type=float, default=50.0, help="changes a second (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng, scale = random.Random(asked.seed), Scale(asked.services, 2)
    synced = 0
    with place(asked.mode) as here, pods(here) as there, ApiServer(scale) as server:
        kubeconfig = server.kubeconfig(here.folder)
        for _ in range(2):  # the first start may compile
            with Agent(here, asked.mode, kubeconfig) as first:
                start = first.seconds
        untouched = {scale.vip(i): set(scale.pods(i)) for i in range(0, scale.services, 2)}
        churn = Churn(server, scale, fresh_ips(), asked.rate)
        with Traffic(there.client, untouched, 200.0) as traffic, churn.going():
            for _ in range(asked.kills):
                with Agent(here, asked.mode, kubeconfig, waits=False) as agent:
                    time.sleep(rng.uniform(0.4, 1.4) * start)
                    agent.stop(signal.SIGKILL)
                    synced += bool(agent.syncs())
        with Agent(here, asked.mode, kubeconfig):
            time.sleep(1.0)
            rest = left(server, here, asked.mode)
    count = traffic.count()
    print(
        f"{asked.mode}: {asked.kills} kills, {synced} of them after the first sync; {count.failed} of "
        f"{count.made} connections failed, {count.slow} slow; left in the end: {rest[:3]}"
    )
    print("\n".join(traffic.errors[:10]))
    return bool(count.failed or rest)


if __name__ == "__main__":
    sys.exit(main())
