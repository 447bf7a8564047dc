"""Golden files of what is said of published manifests: ``pytest --update-golden tests/published`` writes
them.
"""

import contextlib

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another folder with golden files has added it
        parser.addoption(
            "--update-golden", action="store_true", help="write golden files instead of comparing with them"
        )
