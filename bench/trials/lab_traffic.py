"""Requests to a Service of a lab while its Deployment is rolled over, a node is drained, and a crash loop
runs beside it: none may fail.

    PYTHONPATH=tests python bench/trials/lab_traffic.py --requests 20000 --mode nftables
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from harness.clusters import cluster
from harness.labtraffic import STEADY, Requests, changes


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--mode", default="nftables")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kclab-") as folder:
        path = Path(folder, "steady.yaml")
        path.write_text(STEADY)
        with cluster(Path(folder), "--mode", asked.mode) as lab:
            lab.run("apply", "-f", str(path), "--wait=false")
            lab.run("kubectl", "rollout", "status", "deployment/steady", "--timeout=60s")
            requests, start, rounds = Requests(lab), time.monotonic(), 0
            with requests.going(asked.requests):
                while not rounds or requests.count < asked.requests:
                    changes(lab)
                    rounds += 1
            seconds = time.monotonic() - start
    for line in requests.failed:
        print(line)
    pods = len(requests.answered)
    print(
        f"{asked.mode}: {requests.count} requests in {seconds:.0f} s, answered by {pods} pods: "
        f"{len(requests.failed)} failed over {rounds} rolling updates and drains"
    )
    return 1 if requests.failed else 0


if __name__ == "__main__":
    sys.exit(main())
