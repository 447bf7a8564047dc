"""What a run says of its time (plugins/budget.py), and CONTRIBUTING.md's table."""

from pathlib import Path

from plugins.budget import budgets, folder_of, table

ROOT = Path(__file__).resolve().parents[2]


def test_every_folder_with_tests_has_a_budget():
    folders = {folder_of(path.relative_to(ROOT).as_posix()) for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(budgets((ROOT / "CONTRIBUTING.md").read_text())) == folders


def test_the_longest_comes_first_and_who_is_over_is_marked():
    lines = table(
        {"tests/unit": 12.34, "tests/new": 1.0, "tests/lab": 99.0}, {"tests/unit": 10, "tests/lab": 100}
    )
    assert [line.split() for line in lines] == [
        ["seconds", "budget"],
        ["99.0", "100", "tests/lab"],
        ["12.3", "10", "tests/unit", "over"],
        ["1.0", "tests/new"],
    ]
