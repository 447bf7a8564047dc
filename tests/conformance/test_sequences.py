"""Each sequence of applies, through the command line, with connections open between them: `pytest
tests/conformance [--mode MODE]`.
"""

from pathlib import Path

import pytest

from harness.sequence import SequenceCase
from harness.sequence_runner import run_sequence

pytestmark = pytest.mark.kernel


def test_sequence(sequence_case: SequenceCase, usable_mode: str, tmp_path: Path):
    failures = run_sequence(sequence_case, usable_mode, tmp_path)
    name = sequence_case.case.name
    assert not failures, f"{name} in mode {usable_mode}:\n" + "\n".join(
        f"- {failure}" for failure in failures
    )
