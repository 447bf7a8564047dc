"""Mutated questions to ``kcompile dns serve``, over UDP and TCP: every answer is a message, and good
questions among them are answered all the time.

    PYTHONPATH=tests python bench/trials/dns_packets.py --count 50000

Prints what is wrong, with its seed, and how much memory the server held; exits with 1 where something is.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from harness.mutated import trouble
from harness.nameserver import serving


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50_000, help="questions, by each of UDP and TCP")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    wrong = 0
    with serving() as (port, server):
        for protocol in ("udp", "tcp"):
            before, began = _held(server.pid), time.monotonic()
            for line in trouble(port, asked.count, asked.seed, tcp=protocol == "tcp"):
                wrong += 1
                print(line, flush=True)
            seconds = time.monotonic() - began
            print(
                f"{protocol}: {asked.count:,} questions in {seconds:.0f} s, {wrong} wrong until now; the "
                f"server held {before:.0f} MiB before, {_held(server.pid):.0f} MiB after"
            )
        wrong += server.poll() is not None
    return bool(wrong)


def _held(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
