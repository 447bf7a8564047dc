"""Options of the tests that run real packets, and the surroundings that none of them may share with this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ebpf, modes


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
        help="run flow cases in this mode: nftables, iptables-legacy, iptables-nft, ipvs, xdp, xdp-tc, xdp-generic (repeatable)",
    )


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings() -> Iterator[None]:
    """A command of mode xdp never finds this machine's bpffs, nor the root of its cgroups."""
    if modes.missing("xdp"):
        yield
        return
    with ebpf.surroundings():
        yield
