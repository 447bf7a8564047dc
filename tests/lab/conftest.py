"""What tests with a lab share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import modes
from harness.kubelets import KubeletLab
from kcompile.lab import netns

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


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletLab]:
    """A node and its kubelet, without anything else of a lab."""
    name, folder = f"kubelet{os.getpid()}", tmp_path_factory.mktemp("lab")
    (folder / "account").mkdir()
    (folder / "account/token").write_text("secret")
    (folder / "account/ca.crt").write_text("certificate")
    with KubeletLab(name, folder) as lab:
        yield lab
    assert netns.of_lab(name) == []
