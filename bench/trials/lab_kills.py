"""Labs whose process, containers or `lab up` are killed at random moments: `lab down` leaves nothing of them.

    PYTHONPATH=tests python bench/trials/lab_kills.py --kills 50

In half of the rounds `lab up` has to work again before. Ends with status 1 where anything is left.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from harness.clusters import cluster
from harness.labkills import VICTIMS, round_of

WEB = Path(__file__).resolve().parents[2] / "tests" / "lab" / "web.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng, start, bad = random.Random(asked.seed), time.monotonic(), 0
    for number in range(asked.kills):
        victim = VICTIMS[number % len(VICTIMS)]
        with tempfile.TemporaryDirectory(prefix="kclab-") as folder, cluster(Path(folder)) as lab:
            try:
                left = round_of(lab, victim, str(WEB), rng)
            except AssertionError as error:
                left = [f"up doesn't work again: {error}"]
        bad += bool(left)
        for line in left:
            print(f"round {number}, {victim} killed: {line}", flush=True)
    seconds = time.monotonic() - start
    print(f"{asked.kills} kills in {seconds:.0f} s: {bad} left something, or kept `up` from working again")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
