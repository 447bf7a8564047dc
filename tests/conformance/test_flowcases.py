"""Each flow case, through the command line, with real packets: `pytest tests/conformance [--flowcases DIR]
[--mode MODE]`.
"""

from pathlib import Path

import pytest

from harness.flowcase import load
from harness.runner import run_case

pytestmark = pytest.mark.kernel


def test_flowcase(case_file: Path, usable_mode: str, tmp_path: Path):
    case = load(case_file)
    failures = run_case(case, usable_mode, tmp_path)
    for name in ("apply.log", "rules.txt"):
        if failures and (tmp_path / name).exists():
            print(f"--- {name}", (tmp_path / name).read_text(), sep="\n")
    assert not failures, f"{case.name} in mode {usable_mode}:\n" + "\n".join(
        f"- {failure}" for failure in failures
    )
