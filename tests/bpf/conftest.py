"""Fixtures for tests that load eBPF: a cache of compiled programs, a bpffs and a network namespace, all of
them the test's own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ebpf, modes, netns
from kcompile.kernel.bpf import pins
from kcompile.kernel.bpf.hooks import cgroup_root

from .world import World, make


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is compiled is compiled once a run."""
    return tmp_path_factory.mktemp("kcompile-run")


@pytest.fixture(scope="module", autouse=True)
def bpf_cache(run_directory: Path) -> Iterator[Path]:
    """Where it is."""
    if reason := modes.no_namespaces():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KCOMPILE_RUN_DIR", str(run_directory))
        yield run_directory / "objects"


@pytest.fixture
def bpffs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "bpf"
    folder.mkdir()
    pins.mount(folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def namespace() -> Iterator[str]:
    with netns.group(["bpf"]) as names:
        yield names["bpf"]


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A child of the root of cgroup v2, with nobody in it."""
    folder = cgroup_root() / f"kctest-{os.getpid()}-sockets"
    folder.mkdir()
    try:
        yield folder
    finally:
        ebpf.remove_cgroup(folder)


@pytest.fixture(scope="module")
def only_world() -> Iterator[World]:
    with make() as world:
        yield world


@pytest.fixture
def world(only_world: World) -> World:
    """The node of world.py, with no connections yet."""
    only_world.clear()
    only_world.configure()
    return only_world
