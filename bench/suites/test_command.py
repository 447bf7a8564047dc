"""`kcompile compile`, start to exit, as a user has it: wall, CPU and peak memory."""

import sys
from statistics import median

from kcompile_bench.generate import NODE
from kcompile_bench.spawned import cost_of


def test_compile_command(measure, benchmark, workload, family, tmp_path):
    costs = []
    with workload.file() as path:
        command = [sys.executable, "-m", "kcompile", "compile", "-f", str(path), "--mode", family, "--node", NODE]
        command += ["--state", str(tmp_path / "state.json"), "--max-input-bytes", str(1 << 30)]
        measure("kcompile compile", lambda: costs.append(cost_of(command)), mode=family, rounds=5)

    info = {"wall_seconds": median(c.wall for c in costs), "cpu_seconds": median(c.cpu for c in costs)}
    benchmark.extra_info.update(info, peak_mb=round(max(c.peak_mb for c in costs), 1))
