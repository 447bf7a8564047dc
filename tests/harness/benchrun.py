"""The command of the tests of `kcompile bench run`."""

import sys

__all__ = ["BENCH_RUN"]

BENCH_RUN = (sys.executable, "-m", "kcompile", "bench", "run")
