"""Golden files of the iptables target: ``pytest --update-golden tests/unit/iptables`` writes them."""

import contextlib

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # another folder with golden files has added it
        parser.addoption(
            "--update-golden", action="store_true", help="write golden files instead of comparing with them"
        )
