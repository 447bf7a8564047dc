"""`kcompile compile` and `kcompile apply`, start to exit, as a user has them: wall, CPU and peak memory."""

from contextlib import nullcontext
from statistics import median

import pytest

from kcompile import spawn
from kcompile_bench.generate import NODE
from kcompile_bench.spawned import cost_of
from kcompile_bench.workload import MAX_BYTES

from .conftest import bpffs


@pytest.fixture
def command(request, measure, benchmark, workload, tmp_path, monkeypatch):
    """`command(stage, verb, mode, ...)`: measure `kcompile verb` over the workload's JSON."""
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path))
    xdp = request.node.callspec.params.get("mode") == "xdp"
    with workload.file() as path, bpffs(tmp_path, monkeypatch) if xdp else nullcontext():

        def run(stage, verb, mode, *, setup=None, before=None):
            line = spawn.python("kcompile", verb, "-f", str(path), "--mode", mode, "--node", NODE)
            line += ["--state", str(tmp_path / "state.json"), "--max-input-bytes", str(MAX_BYTES)]
            if xdp:
                line += ["--socket-lb", "off"]  # a cgroup is no namespace: its hooks would be everybody's
            if before:
                before()
                cost_of(line)
            costs = []
            rounds = 5 if workload.scale.services <= 10_000 else 2
            measure(stage, lambda: costs.append(cost_of(line)), mode=mode, setup=setup, rounds=rounds)
            info = {
                "wall_seconds": median(c.wall for c in costs),
                "cpu_seconds": median(c.cpu for c in costs),
            }
            benchmark.extra_info.update(info, peak_mb=round(max(c.peak_mb for c in costs), 1))

        yield run


def test_compile_command(command, family):
    command("kcompile compile", "compile", family)


@pytest.mark.kernel
def test_apply_command(command, mode, fresh):
    command("kcompile apply", "apply", mode, setup=fresh)


@pytest.mark.kernel
def test_apply_command_again(command, mode, fresh):
    command("kcompile apply, no change", "apply", mode, before=fresh)
