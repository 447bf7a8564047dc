"""The suites against a committed run: a slower machine is none of their business, a slower benchmark is."""

import json
from pathlib import Path

import pytest

from kcompile_bench.baseline import main, ratios

OLD = {f"stage {n}, nftables, 1000x10": 0.01 * n for n in range(1, 10)}


def written(folder: Path, seconds: dict[str, float]) -> Path:
    benchmarks = []
    for name, value in seconds.items():
        stage, mode, scale = name.split(", ")
        benchmarks.append(
            {"extra_info": {"stage": stage, "mode": mode, "scale": scale, "cpu_seconds": value}}
        )
    file = folder / "suites.json"
    file.write_text(json.dumps({"benchmarks": benchmarks}))
    return file


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    file = tmp_path / "baseline.json"
    assert main(["--results", str(written(tmp_path, OLD)), "--baseline", str(file), "--write"]) == 0
    return file


def test_a_slower_machine_is_no_regression(tmp_path: Path, baseline: Path):
    file = written(tmp_path, {name: 3 * seconds for name, seconds in OLD.items()})
    assert main(["--results", str(file), "--baseline", str(baseline)]) == 0


def test_a_slower_benchmark_is_one(tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]):
    slow = "stage 4, nftables, 1000x10"
    file = written(
        tmp_path, {name: 3 * seconds * (1.5 if name == slow else 1) for name, seconds in OLD.items()}
    )
    assert main(["--results", str(file), "--baseline", str(baseline)]) == 1
    assert f" 1.50  {slow}" in capsys.readouterr().out.splitlines()


def test_what_is_too_short_to_time_is_not_held_against_anybody(tmp_path: Path, baseline: Path):
    tiny = {**OLD, "blink, nftables, 1000x10": 0.0002}
    baseline.write_text(json.dumps({**OLD, "blink, nftables, 1000x10": 0.0001}))
    assert main(["--results", str(written(tmp_path, tiny)), "--baseline", str(baseline)]) == 0


def test_runs_of_different_things_cannot_be_compared():
    with pytest.raises(ValueError, match="in common"):
        ratios({"a": 1.0}, {"b": 1.0})
