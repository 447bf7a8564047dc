"""docs/reference/safety.md: every promise names a test, and every named test exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/reference/safety.md").read_text()
ROW = re.compile(r"^\| (?!promise|---)(?P<promise>.+) \| (?P<tests>.+) \|$", re.MULTILINE)
ROWS = [(row["promise"], re.findall(r"`([^`]+)`", row["tests"])) for row in ROW.finditer(TEXT)]
SECTIONS = ["Input", "Files and code", "Faults", "Drift", "Connections", "After delete"]


def functions_in(path: Path) -> set[str]:
    """The test functions of a module; empty for the case of a suite (YAML)."""
    if path.suffix != ".py":
        return set()
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.name.startswith("test_")}


def test_there_is_a_section_a_topic():
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == SECTIONS
    assert len(ROWS) == len(re.findall(r"^\| ", TEXT, re.MULTILINE)) - 2 * len(SECTIONS)


@pytest.mark.parametrize(("promise", "tests"), ROWS, ids=[promise[:50] for promise, _ in ROWS])
def test_every_promise_names_tests_that_exist(promise: str, tests: list[str]):
    assert tests, promise
    for name in tests:
        path, _, function = name.partition("::")
        assert path.startswith("tests/")
        assert (ROOT / path).is_file(), name
        if function:
            assert function in functions_in(ROOT / path), name
        elif path.endswith(".py"):
            assert functions_in(ROOT / path), name
