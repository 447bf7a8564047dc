"""The agent against an API server whose connections go wrong: seeded runs, of which each ends with the kernel
as the server's objects ask.

    PYTHONPATH=tests python bench/trials/faults.py --mode nftables --seeds 1000
    PYTHONPATH=tests python -m uml --module ip_vs -- env PYTHONPATH=tests \\
        .venv/bin/python bench/trials/faults.py --mode ipvs --seeds 20

Every run finds the rules of the one before. Prints what is wrong with a seed, and exits with 1 then; with
`--first` it begins there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from harness import ebpf, netns
from harness.followed import NODE, follow


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", default="nftables")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    asked = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as text, netns.group(["node"]) as names:
        folder, name = Path(text), names["node"]
        os.environ |= {"KCOMPILE_RUN_DIR": f"{folder}/run", "KCOMPILE_STATE_DIR": f"{folder}/state"}
        netns.batch(["link add eth0 type veth peer name peer", "link set eth0 up", "link set peer up"], name)
        netns.batch([f"address add {NODE}/24 dev eth0"], name)
        began = time.monotonic()
        for seed in range(asked.first, asked.first + asked.seeds):
            if trouble := asyncio.run(follow(name, folder, asked.mode, seed)):
                wrong += 1
                print(trouble, flush=True)
        print(f"{asked.mode}: {asked.seeds} seeds, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    with ebpf.surroundings():
        sys.exit(main())
