"""kcompile bench over an inventory: machines that are reached by a command each, with one set of them for all
modes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness import modes
from harness.benchrun import BENCH_RUN
from kcompile.errors import InputError
from kcompile_bench.kit.cluster import ADDRESSES
from kcompile_bench.kit.findings import findings_of
from kcompile_bench.kit.hosts import HostsPlace, read_inventory
from kcompile_bench.kit.netns_cluster import NetnsPlace
from kcompile_bench.kit.results import Results

pytestmark = pytest.mark.together("bench")
SERVERS = ["10.130.0.5", "10.130.0.6"]


@pytest.fixture
def inventory(tmp_path: Path):
    """Namespaces as machines: nsenter takes the part of ssh."""
    with NetnsPlace().cluster("hosts", SERVERS) as cluster:
        roles = {}
        for role, name in cluster.namespaces.items():
            own = [f"KCOMPILE_{kind}_DIR={tmp_path / role / kind}" for kind in ("RUN", "STATE")]
            run = ["nsenter", f"--net=/run/netns/{name}", "env", *own, "sh", "-c"]
            # as over ssh: a shell at the other end reads the whole line, and sudo is the first word in it
            if role == "pod-a":
                run = ["sh", "-c", f'eval "nsenter --net=/run/netns/{name} $*"', "sh"]
            if role != "wire":
                roles[role] = {"run": run} | (
                    {"addresses": SERVERS} if role == "server" else {"address": ADDRESSES[role]}
                )
        file = tmp_path / "inventory.yaml"
        file.write_text(
            yaml.safe_dump({"name": "a rack", "kcompile": [sys.executable, "-m", "kcompile"], "roles": roles})
        )
        yield file, cluster


@pytest.mark.kernel
def test_modes_take_turns_on_the_machines_of_an_inventory(inventory, tmp_path: Path):
    file, cluster = inventory
    present = [mode for mode in modes.MODES if not modes.missing(mode)][:2]
    chosen = [option for mode in [*present, "linear"] for option in ("--mode", mode)]
    kinds = ("--measure", "connect", "--measure", "handshake", "--measure", "crr")
    command = [
        *BENCH_RUN,
        "--place",
        str(file),
        "--output",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [*command, *chosen, *kinds, "--rounds", "2", "--services", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = Results.read(tmp_path / "out")
    assert results.environment["place"] == "hosts: a rack"
    findings = findings_of(results)
    assert findings.modes == [mode for mode in results.plan.modes if mode in present]
    assert "nothing would take these rules out again" in findings.absent["linear"]
    assert "this machine only" in results.absent_stages["1x2 handshake"]
    for stage in findings.stages.values():
        assert stage.rounds == 2
        assert stage.troubles() == []
        assert all(stage.cell(mode, "pod-clusterip") for mode in present)
    for role in ("node-a", "node-b"):  # nothing is left on them
        command = ["ip", "netns", "exec", cluster.namespaces[role], "nft", "-j", "list", "tables"]
        listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        tables = [t["table"]["name"] for t in listed["nftables"] if "table" in t]
        assert "kcompile" not in tables
    assert not list(Path("/var/lib").glob("kcompile-bench-*"))


WHOLE = {
    "name": "x",
    "roles": {
        "node-a": {"run": ["ssh", "a"], "address": "10.0.0.1"},
        "node-b": {"run": ["ssh", "b"], "address": "10.0.0.2"},
        "server": {"run": ["ssh", "a"], "addresses": ["10.1.0.1"]},
    },
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"roles": {}}, "roles: node-a is missing"),
        ({"nodes": 1}, "unknown field `nodes`"),
        (
            {"roles": WHOLE["roles"] | {"outside": {"run": [], "address": "1.2.3.4"}}},
            "roles.outside: run and address are needed",
        ),
        (
            {"roles": WHOLE["roles"] | {"server": {"run": ["ssh"], "address": "1.2.3.4"}}},
            "roles.server: run and addresses are needed",
        ),
        ({"roles": WHOLE["roles"] | {"outside": {"run": "ssh"}}}, "$.roles[...].run"),
    ],
)
def test_a_wrong_inventory_is_refused_with_file_and_field(tmp_path: Path, change: dict, said: str):
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(WHOLE | change))
    with pytest.raises(InputError) as refused:
        read_inventory(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert said in str(refused.value)


def test_roles_that_are_left_out_take_their_paths_with_them(tmp_path: Path):
    file = tmp_path / "hosts.yaml"
    file.write_text(yaml.safe_dump(WHOLE))
    assert set(HostsPlace(read_inventory(file), "x").paths) == {
        "node-direct",
        "node-clusterip",
        "node-nodeport",
        "hairpin",
    }
