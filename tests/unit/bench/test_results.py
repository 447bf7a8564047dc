"""Results on disk: whole rounds, going on after an interruption, refusing what doesn't belong together."""

import gzip
from pathlib import Path

import pytest

from kcompile.errors import InputError
from kcompile_bench.kit.profiles import narrowed, profile
from kcompile_bench.kit.results import FILE, Results

PLAN = narrowed(profile("quick"), kinds=("connect",), services=(1,))
ROUND = {
    "stage": "1x2 connect",
    "round": 0,
    "seconds": 1.0,
    "blocks": {"none/pod-direct": {"figures": {"p50": 1.0}}},
}


def test_what_was_written_is_read_again(tmp_path: Path):
    results = Results.start(tmp_path, PLAN, {"place": "x"})
    results.write(ROUND)
    results.write({"group": "1x2", "mode": "ipvs", "absent": "no IPVS"})
    again = Results.read(tmp_path)
    assert again.plan == PLAN
    assert again.rounds == results.rounds == {"1x2 connect": {0: ROUND["blocks"]}}
    assert again.absent_modes == {("1x2", "ipvs"): "no IPVS"}
    assert "ipvs" not in again.modes("1x2")
    assert again.end is None
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress((tmp_path / FILE).read_bytes()))
    assert Results.read(tmp_path / "packed.jsonl.gz").rounds == again.rounds


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_that_was_being_written_is_cut_off(tmp_path: Path, cut: int):
    results = Results.start(tmp_path, PLAN, {"place": "x"})
    results.write(ROUND)
    whole = (tmp_path / FILE).read_bytes()
    results.write({**ROUND, "round": 1})
    torn = (tmp_path / FILE).read_bytes()[:-cut]
    (tmp_path / FILE).write_bytes(torn)
    assert list(Results.read(tmp_path).rounds["1x2 connect"]) == [0]
    again = Results.start(tmp_path, PLAN, {"place": "x"})
    assert (tmp_path / FILE).read_bytes().startswith(whole)
    again.write({**ROUND, "round": 1})
    assert sorted(Results.read(tmp_path).rounds["1x2 connect"]) == [0, 1]
    assert Results.read(tmp_path).starts == 2


def test_another_plan_is_refused(tmp_path: Path):
    Results.start(tmp_path, PLAN, {"place": "x"})
    with pytest.raises(InputError, match="holds another run"):
        Results.start(tmp_path, profile("standard"), {"place": "x"})


def test_a_complete_run_is_not_gone_on_with(tmp_path: Path):
    Results.start(tmp_path, PLAN, {"place": "x"}).write({"end": {"load": "0 0 0"}})
    with pytest.raises(InputError, match="is complete"):
        Results.start(tmp_path, PLAN, {"place": "x"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}\n",
        "nonsense\n",
        '{"run": 99}\n',
        "[]\n",
        '{"run": 1}\n',
        '{"run": 1, "plan": 3, "environment": {}}\n',
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError) as refused:
        Results.read(tmp_path)
    assert str(refused.value).startswith(str(tmp_path / FILE))
    assert "\n" not in str(refused.value)


def test_a_broken_line_is_named(tmp_path: Path):
    results = Results.start(tmp_path, PLAN, {"place": "x"})
    results.write(ROUND)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"what": 1}\n')
    with pytest.raises(InputError, match="line 3: unknown record"):
        Results.read(tmp_path)


def test_no_file_is_said_so(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        Results.read(tmp_path / "nowhere")
