"""Options of the tests that run real packets, and the surroundings that none of them may share with this
machine.
"""

import signal
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
        help="run flow cases in this mode: nftables, iptables-legacy, iptables-nft, ipvs, xdp, xdp-tc, "
        "xdp-generic (repeatable)",
    )
    parser.getgroup("agent").addoption(
        "--fault-seeds",
        type=int,
        default=10,
        metavar="N",
        help="how many seeded runs an agent's client has against an API server with faults (default: 10)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault_seed" in metafunc.fixturenames:
        metafunc.parametrize("fault_seed", range(metafunc.config.getoption("--fault-seeds")))


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings() -> Iterator[None]:
    """A command of mode xdp never finds this machine's bpffs, nor the root of its cgroups."""
    if modes.missing("xdp"):
        yield
        return
    with ebpf.surroundings():
        yield


def pytest_configure() -> None:
    """A run that was started in the background ignores SIGINT, and so would every command that a test
    interrupts.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
