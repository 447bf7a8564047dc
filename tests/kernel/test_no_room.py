"""A run or state folder that is full or read-only: one line, and the kernel as it was; delete finishes all
the same.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ebpf, modes, netns
from harness.console import Console, services

pytestmark = pytest.mark.kernel
LINK = ["link add eth0 type veth peer name peer0", "link set eth0 up", "addr add 192.0.2.10/24 dev eth0"]
MODES = ("nftables", "iptables-nft", "xdp")
MANY = 2000


@contextlib.contextmanager
def small(folder: Path, *options: str) -> Iterator[None]:
    """A file system of 64 KB at `folder`."""
    folder.mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(("size=64k", "mode=700", *options)), "kctest", str(folder)],
        check=True,
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Take all the room that there is."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


class Node(Console):
    """A console and a mode."""

    def __init__(self, namespace: str, folder: Path, mode: str) -> None:
        super().__init__(namespace, folder)
        self.mode = mode
        self.environment |= {
            "KCOMPILE_BPF_DIR": str(folder / "bpf"),
            "KCOMPILE_CACHE_DIR": str(folder / "cache"),
        }

    def apply(self, count: int, code: int = 0) -> str:
        options = ("--socket-lb", "off") if self.mode == "xdp" else ()
        return self.run(
            "apply",
            "-f",
            self.write(services(count)),
            "--node",
            "node-a",
            "--mode",
            self.mode,
            *options,
            code=code,
        )

    def kernel(self) -> tuple[object, ...]:
        """All that an apply touches. Empty built-in chains of iptables-nft, which stay, count as nothing."""
        rules = netns.run(self.namespace, ["nft", "list", "ruleset"]).stdout
        if self.mode == "iptables-nft" and "KCOMPILE-" not in rules:
            rules = ""
        pins = sorted(ebpf.leftovers(self.mode, self.folder))
        return (
            rules,
            ebpf.programs(self.namespace),
            pins,
            self.sysctl("net.ipv4.ip_forward"),
            self.sysctl("net.ipv4.conf.lo.accept_local"),
        )


@pytest.fixture(params=MODES)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    mode = request.param
    if reason := modes.missing(mode):
        pytest.skip(reason)
    with netns.group(["node"]) as names, ebpf.room("xdp-tc" if mode == "xdp" else mode, tmp_path):
        netns.batch(LINK, names["node"])
        for left in (tmp_path / "run").glob("objects"):
            left.unlink()
        yield Node(names["node"], tmp_path, mode)


def one_line(said: str) -> None:
    lines = [line for line in said.splitlines() if not line.startswith("kcompile: warning: ")]
    assert len(lines) == 1, said
    assert lines[0].startswith("kcompile: ")
    assert "No space left on device" in said or "Read-only file system" in said


@pytest.mark.parametrize("which", ["run", "state"])
def test_no_room_for_two_thousand_services(which: str, node: Node):
    with small(node.folder / which):
        before = node.kernel()
        one_line(node.apply(MANY, code=1))
        assert node.kernel() == before
        assert "Nothing to delete" in node.run("delete")
        node.apply(1)
        applied = node.kernel()
        one_line(node.apply(MANY, code=1))
        assert node.kernel() == applied
        node.run("delete")
        assert node.kernel() == before


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_delete_finishes(state: str, node: Node):
    before = node.kernel()
    with small(node.folder / "run"):
        node.apply(3)
        applied = node.kernel()
        assert node.sysctl("net.ipv4.ip_forward") == "1"
        if state == "full":
            fill(node.run_folder)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(node.run_folder)], check=True)
        one_line(node.apply(2, code=1))
        assert node.kernel() == applied
        assert "demo/svc-0" in node.run("get", "services")
        assert "Deleted" in node.run("delete")
        assert node.kernel() == before
        assert "Nothing to delete" in node.run("delete")


def test_a_read_only_run_folder_from_the_start(node: Node):
    with small(node.folder / "run", "ro"):
        before = node.kernel()
        one_line(node.apply(1, code=1))
        assert node.kernel() == before
        assert "Nothing to delete" in node.run("delete")


def test_a_lab_without_room_is_one_line(tmp_path: Path):
    run = tmp_path / "run"
    with small(run):
        fill(run)
        said = Console("none", tmp_path).run(
            "lab", "up", "--name", "kctest-full", "--nodes", "1", into=(), code=1
        )
        assert said.splitlines()[-1].startswith("kcompile: ")
        assert "No space left on device" in said
        assert "Traceback" not in said
        assert not list(Path("/run/netns").glob("kclab.kctest-full.*"))


def test_delete_without_any_state(node: Node):
    before = node.kernel()
    node.apply(3)
    for path in node.directory.iterdir():
        path.unlink()
    assert "Deleted" in node.run("delete")
    assert node.kernel()[:3] == before[:3]
