"""A slowdown put into recorded figures: found when it is large, never claimed under the noise.

The data are the committed report's.

The two runs are two stages of it, of 1 and of 100 Services, which cost mode nftables the same: real noise,
and none of this machine's. `kcompile bench` itself is timed with an injected slowdown in
bench/trials/test_slowdown.py.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from kcompile_bench.kit.compare import Comparison, compare
from kcompile_bench.kit.results import Results

RECORDED = Path(__file__).resolve().parents[3] / "docs" / "reports" / "standard" / "results.jsonl.gz"
MODE, STAGES, CALLED = "nftables", ("1x2 connect", "100x2 connect"), "1x2 connect"
PATHS = {"pod-direct", "pod-clusterip", "outside-direct"}


@pytest.fixture(scope="module")
def recorded() -> Results:
    return Results.read(RECORDED)


def run(recorded: Results, stage: str, factor: float) -> Results:
    """One of the two runs, in which MODE took `factor` times as long."""
    made = Results(recorded.plan, {})
    for number, blocks in recorded.rounds[stage].items():
        made.rounds[CALLED][number] = {
            name: slowed(name, block, factor) for name, block in blocks.items() if kept(name)
        }
    return made


def kept(condition: str) -> bool:
    mode, path, *_ = condition.split("/")
    return mode != MODE or path in PATHS


def slowed(condition: str, block: dict, factor: float) -> dict:
    if not condition.startswith(f"{MODE}/"):
        return block
    figures = {name: value * factor for name, value in block["figures"].items()}
    return {**block, "figures": figures}


def compared(recorded: Results, factor: float) -> Comparison:
    return compare(run(recorded, STAGES[0], 1.0), run(recorded, STAGES[1], factor))


def claimed(found: Comparison, verdict: str) -> set[str]:
    return {d.condition.path for d in found.found if d.condition.mode == MODE and d.verdict == verdict}


def test_a_third_more_is_found_on_every_path(recorded: Results):
    found = compared(recorded, 1.3)
    assert claimed(found, "worse") == PATHS
    assert claimed(found, "better") == set()


def test_nothing_is_ever_said_of_what_the_noise_could_be(recorded: Results):
    for factor in (1.0, 1.03, 1.3):
        for d in compared(recorded, factor).found:
            assert d.floor
            if d.verdict:
                assert max(d.ratio.value, 1 / d.ratio.value) > 1 + d.floor.share


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_less_than_the_noise_is_not_claimed(recorded: Results, factor: float):
    found = compared(recorded, factor)
    assert max(d.floor.share for d in found.found if d.floor) > factor - 1
    assert claimed(found, "worse") == claimed(found, "better") == set()


def written(folder: Path, recorded: Results, stage: str, factor: float) -> str:
    """The run as `kcompile bench run --output FOLDER` would have left it."""
    results = Results.start(folder, recorded.plan, {})
    for number, blocks in run(recorded, stage, factor).rounds[CALLED].items():
        results.write({"stage": CALLED, "round": number, "seconds": 0.1, "blocks": blocks})
    results.write({"end": {}})
    return str(folder)


def test_compare_exits_1_on_a_regression_only(recorded: Results, tmp_path: Path):
    a = written(tmp_path / "a", recorded, STAGES[0], 1.0)
    b = written(tmp_path / "b", recorded, STAGES[1], 1.5)
    for old, new, code in ((a, b, 1), (b, a, 0), (a, a, 0)):
        command = [sys.executable, "-m", "kcompile", "bench", "compare", old, new]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stdout.startswith("The machines")
