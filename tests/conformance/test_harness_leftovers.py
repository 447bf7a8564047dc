"""What the harness leaves behind (nothing), and that it sees what the command does."""

import subprocess
from pathlib import Path

import pytest

from harness import netns
from harness.command import Kcompile, ours
from harness.handmade import POD, VIP, case, flow
from harness.lab import Lab
from harness.topology import Topology

pytestmark = pytest.mark.kernel


def test_no_namespace_is_left_even_after_a_failure(tmp_path: Path):
    names: list[str] = []

    def fail() -> None:
        with Lab(case(tmp_path, flow("accept"))) as lab:
            names.extend([lab.topology.node, lab.topology.world, *lab.topology.pods.values()])
            assert all((netns.RUN / name).exists() for name in names)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(names) == 4
    assert not [name for name in names if (netns.RUN / name).exists()]
    with pytest.raises(RuntimeError), Topology(["192.0.2.10", "192.0.2.10"], [POD]):
        pass
    assert not [
        path for path in netns.RUN.iterdir() if path.name.startswith(f"{netns.PREFIX}-{netns.os.getpid()}-")
    ]


def test_sweep_removes_what_dead_processes_left():
    child = subprocess.Popen(["true"])
    child.wait()
    stale = f"{netns.PREFIX}-{child.pid}-abcd-1-node"
    with netns.group(["node"]) as mine:
        netns.batch([f"netns add {stale}"])
        assert stale in netns.sweep()
        assert (netns.RUN / mine["node"]).exists()


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy", "iptables-nft", "ipvs", "xdp"])
def test_leftovers_are_seen(tmp_path: Path, usable_mode: str):
    with Lab(case(tmp_path, flow("accept"))) as lab:
        node = lab.topology.node
        assert ours(node, usable_mode) == []
        if one := {"nftables": "nft add table ip kcompile", "xdp": "tc qdisc add dev eth0 clsact"}.get(
            usable_mode
        ):
            netns.run(node, one.split())
        elif usable_mode == "ipvs":
            for made in (
                f"ipvsadm -A -t {VIP}:80",
                "ipset create KCOMPILE hash:ip",
                "ip link add kcompile type dummy",
            ):
                netns.run(node, made.split())
            assert len(ours(node, usable_mode)) == 3
        else:
            flavour = usable_mode.removeprefix("iptables-")
            netns.run(node, [f"iptables-{flavour}-restore"], text="*nat\nCOMMIT\n")
            assert ours(node, usable_mode) == []
            netns.run(
                node,
                [f"iptables-{flavour}-restore"],
                text="*nat\n:KCOMPILE-X - [0:0]\n-A PREROUTING -j KCOMPILE-X\nCOMMIT\n",
            )
        assert ours(node, usable_mode)


def test_processes_left_behind_are_found_and_ended(tmp_path: Path):
    with Lab(case(tmp_path, flow("accept"))) as lab:
        kcompile = Kcompile("nftables", lab.topology.node, tmp_path)
        assert kcompile.processes() == []
        with netns.enter(lab.topology.node):
            inside = subprocess.Popen(["sleep", "60"])
        outside = subprocess.Popen(
            ["sleep", "60"], env={"PATH": "/usr/bin:/bin", "KCOMPILE_RUN_DIR": str(tmp_path / "run")}
        )
        try:
            assert kcompile.settle(0.1) == sorted([inside.pid, outside.pid])
        finally:
            kcompile.kill()
            inside.wait()
            outside.wait()
        assert kcompile.processes() == []
