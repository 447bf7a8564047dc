"""Random clusters in a kernel, probed with real packets: the packet model foretells what becomes of each.

    PYTHONPATH=tests python bench/trials/trace_kernel.py --mode nftables --seeds 100
    PYTHONPATH=tests python -m uml --module ip_vs -- env PYTHONPATH=tests \\
        .venv/bin/python bench/trials/trace_kernel.py --mode ipvs --seeds 20

Prints each connection that ended otherwise, with its seed, and exits with 1 then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from harness import ebpf
from harness.probed import surprises


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="nftables")
    parser.add_argument("--seeds", type=int, default=100, help="clusters")
    parser.add_argument("--flows", type=int, default=30, help="connections in each")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    asked = parser.parse_args()
    wrong, began = 0, time.monotonic()
    for seed in range(asked.first, asked.first + asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for line in surprises(seed, asked.mode, Path(folder), asked.flows):
                wrong += 1
                print(line, flush=True)
    seconds = time.monotonic() - began
    tried = f"{asked.seeds} clusters, {asked.flows} connections each"
    print(f"{asked.mode}: {tried}, {wrong} surprises, {seconds:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    with ebpf.surroundings():
        sys.exit(main())
