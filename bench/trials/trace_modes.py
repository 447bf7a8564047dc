"""Random dataplanes and random packets: the packet model finds that all modes treat each alike, apart from
what docs/reference/modes.md says.

    PYTHONPATH=tests python bench/trials/trace_modes.py --seeds 5000

Prints each packet that two modes treat differently, with its seed, and exits with 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time

from harness.likeness import differences


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5000, help="dataplanes")
    parser.add_argument("--packets", type=int, default=60, help="for each")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    asked = parser.parse_args()
    wrong, began = 0, time.monotonic()
    for seed in range(asked.first, asked.first + asked.seeds):
        for line in differences(seed, asked.packets):
            wrong += 1
            print(line, flush=True)
    seconds = time.monotonic() - began
    print(f"{asked.seeds} dataplanes, {asked.packets} packets each, {wrong} differences, {seconds:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
