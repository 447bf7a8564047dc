"""The command.

    python -m kcompile_bench.held --scale 10000x2 --bench-mode nftables --bench-mode ipvs

one endpoint  one endpoint of one Service goes
one Service   one Service more

first  everything is lowered and written to an empty node
agent  the changed port is resolved and lowered, and the driver held open writes what has changed
bare   nftables, iptables: ``nft -f`` or ``iptables-*-restore --noflush`` with the text that the agent wrote;
       ipvs, xdp: the netlink messages or map entries that it sent, and nothing else

Agent and bare take turns in one namespace. Prints a table: medians of wall clock and CPU (user and system,
the programs that are started included) in milliseconds, the agent's slowest, and ratios. Mode ipvs runs in a
machine of the tests' where this kernel has no IPVS.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kcompile import spawn

from ..generate import Scale
from ..ipvs import where_ipvs_is
from .bare import MODES
from .measure import measure, table

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="What one change costs an agent that holds a driver open.")
    parser.add_argument("--scale", type=Scale.parse, default=Scale(10_000, 2), metavar="SERVICESxENDPOINTS")
    parser.add_argument("--bench-mode", action="append", choices=MODES, metavar="MODE")
    parser.add_argument("--rounds", type=int, default=30, help="of each change (%(default)s)")
    options = parser.parse_args(arguments)
    modes = options.bench_mode or ["nftables", "iptables-legacy", "ipvs", "xdp"]
    here = [mode for mode in modes if mode != "ipvs" or Path("/proc/net/ip_vs").exists()]
    if here:
        rows = [row for mode in here for row in measure(mode, options.scale, options.rounds)]
        sys.stdout.write(table(rows))
    if here == modes:
        return 0
    more = ("--scale", str(options.scale), "--rounds", str(options.rounds), "--bench-mode", "ipvs")
    return spawn.run(where_ipvs_is(spawn.python("kcompile_bench.held", *more))).returncode


if __name__ == "__main__":
    sys.exit(main())
