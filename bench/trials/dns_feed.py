"""``kcompile dns feed`` while 100 Services change in each second of a minute: the server that it feeds must
give the last address of each.

    PYTHONPATH=tests:bench python bench/trials/dns_feed.py --to bind --to nsd --to dnsmasq --to coredns

Needs the servers (bind9, nsd, dnsmasq-base); CoreDNS's zone file is read instead. Exits with 1 where
something is lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness.fed import KINDS, fed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", action="append", choices=list(KINDS), required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second (%(default)s)")
    asked = parser.parse_args()
    wrong = 0
    for kind in asked.to:
        with tempfile.TemporaryDirectory() as text:
            Path(text).chmod(0o755)
            found = fed(kind, Path(text), asked.seconds, asked.rate)
        wrong += len(found.missing)
        print(
            f"{kind}: {found.changes:,} changes in {found.seconds:.0f} s, {found.writes} writes; "
            f"{len(found.missing)} lost; {found.lag:.1f} s from the last change until all answers were right"
        )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
