"""Options of the tests that run real packets."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption(
        "--flowcases",
        action="append",
        default=[],
        metavar="DIR",
        type=lambda text: Path(text).resolve(),
        help="run the flow cases in this directory instead of the project's own (may be repeated)",
    )
    group.addoption(
        "--mode",
        action="append",
        default=[],
        metavar="MODE",
        help="run flow cases in this mode: nftables, iptables-legacy, iptables-nft or ipvs (may be repeated; default: all of them)",
    )
