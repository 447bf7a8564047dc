"""What tests with a lab share."""

from pathlib import Path

import pytest

from harness import modes

WEB = Path(__file__).parent / "web.yaml"


@pytest.fixture
def web() -> str:
    """Manifests: a Deployment of three echo servers, Services for it, and a Pod that visits."""
    return str(WEB)


@pytest.fixture
def usable(mode: str) -> str:
    """The test's mode, where the kernel has it."""
    if reason := modes.missing(mode):
        pytest.skip(reason)
    return mode
