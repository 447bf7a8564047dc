"""Nothing of the current folder runs: modules named as kcompile's, programs named as the system's, in the cwd
of every verb.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import clusters, ebpf, modes, netns
from harness.console import SCRIPT, Console, services

pytestmark = pytest.mark.kernel
MODULES = (
    "msgspec.py",
    "click.py",
    "yaml.py",
    "runpy.py",
    "http.py",
    "dns.py",
    "bcc.py",
    "kcompile/__init__.py",
    "kcompile_bench/__init__.py",
)
PROGRAMS = (
    "ip", "nft", "tc", "modprobe", "conntrack", "ipset", "ipvsadm", "unshare", "nsenter", "mount", "umount",
    "pivot_root", "sh", "env",
    "taskset", "cc", "curl", "tail", "iptables", "ip6tables",
    *(
        f"{tool}-{backend}-{verb}"
        for tool in ("iptables", "ip6tables")
        for backend in ("nft", "legacy")
        for verb in ("save", "restore")
    ),
)  # fmt: skip
EXPOSED = (None, "", ".", ":/usr/bin:/usr/sbin")
"""$PATH as it must not be: not there at all (then execvp takes the current folder too, in some libcs), or
with the current folder in it.
"""


class Trap:
    """A folder of planted files. Each that runs leaves its name in `mark`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, folder / "ran"
        for name in MODULES:
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"open({str(self.mark)!r}, 'a').write({name!r} + '\\n')\n")
        for name in PROGRAMS:
            path = folder / name
            path.write_text(f"#!/bin/sh\necho {name} >>{self.mark}\nexit 1\n")
            path.chmod(0o755)

    def sprung(self) -> str:
        return self.mark.read_text() if self.mark.exists() else ""


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    folder = tmp_path / "planted"
    folder.mkdir()
    made = Trap(folder)
    yield made
    assert made.sprung() == ""


def test_the_trap_works(trap: Trap):
    subprocess.run([sys.executable, "-c", "import msgspec"], cwd=trap.folder, check=False)
    subprocess.run(["nft"], cwd=trap.folder, env={"PATH": "."}, check=False)
    assert trap.sprung().split() == ["msgspec.py", "nft"]
    trap.mark.unlink()


@pytest.fixture
def console(tmp_path: Path, trap: Trap) -> Iterator[Console]:
    with netns.group(["node"]) as names:
        made = Console(names["node"], tmp_path)
        made.cwd = trap.folder
        yield made


def manifest(console: Console) -> str:
    """A Service with a health check port, so that there is a responder to start."""
    ports = [{"name": "p", "port": 80, "nodePort": 30012}]
    health = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30900,
        "ports": ports,
    }
    return console.write(services(1, **health))


@pytest.mark.parametrize("path", EXPOSED)
@pytest.mark.parametrize("mode", ["nftables", "iptables-nft", "iptables-legacy"])
def test_rules(mode: str, path: str | None, console: Console):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    specs, env = ("-f", manifest(console), "--node", "node-a"), {"PATH": path}
    console.run("plan", *specs, "--mode", mode, env=env)
    console.run("apply", *specs, "--mode", mode, env=env)
    assert "demo/svc-0" in console.run("get", "services", env=env)
    console.run("apply", *specs, "--mode", "nftables", env=env)
    console.run("delete", *specs[:2], env=env)
    console.run("delete", env=env)
    assert netns.pids(console.namespace) == []


@pytest.mark.parametrize("path", EXPOSED)
def test_xdp_with_an_empty_cache(path: str | None, console: Console, tmp_path: Path):
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with ebpf.room("xdp-tc", tmp_path):
        env = {
            "PATH": path,
            "KCOMPILE_BPF_DIR": str(tmp_path / "bpf"),
            "KCOMPILE_CACHE_DIR": str(tmp_path / "cache"),
        }
        console.run(
            "apply",
            "-f",
            manifest(console),
            "--node",
            "node-a",
            "--mode",
            "xdp",
            "--socket-lb",
            "off",
            env=env,
        )
        assert list((tmp_path / "cache").iterdir())
        assert "demo/svc-0" in console.run("get", "services", env=env)
        console.run("delete", env=env)


@pytest.mark.parametrize("path", [None, "."])
def test_doctor(path: str | None, console: Console):
    done = subprocess.run(
        [SCRIPT, "doctor"],
        cwd=console.cwd,
        env={"PATH": path} if path else {},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "nftables" in done.stdout, done.stderr


def test_dns(console: Console):
    words = (
        "-f",
        console.write(services(3, clusterIP="10.96.0.7")[:3]),
        "--state",
        str(console.folder / "none"),
    )
    assert "svc-0" in console.run("dns", "render", *words, into=(), env={"PATH": "."})
    with netns.enter(console.namespace):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        command = [SCRIPT, "dns", "serve", *words]
        with subprocess.Popen(
            command, cwd=console.cwd, env={"PATH": "."}, stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert select.select([server.stdout], [], [], 60)[0]
                assert server.stdout.readline().startswith("Serving")
            finally:
                server.terminate()


def test_a_lab(trap: Trap, tmp_path: Path):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "echo"},
        "spec": {"containers": [{"name": "c", "image": "kcompile/echo"}]},
    }
    specs = tmp_path / "pod.json"
    specs.write_text(json.dumps(pod))
    cluster = clusters.Cluster(tmp_path)
    environment = {
        name: value for name, value in cluster.environment.items() if not name.startswith("PYTHON")
    } | {"PATH": "."}

    def run(*words: str) -> str:
        done = subprocess.run(
            [SCRIPT, "lab", *words],
            cwd=trap.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        run("up", "-f", str(specs), "--nodes", "1")
        assert "echo" in run("status")
        (node,) = json.loads(run("status", "-o", "json"))["nodes"]
        (address,) = next(pod["addresses"] for pod in node["pods"] if pod["name"] == "echo")
        assert '"pod": "echo"' in run("curl", "--from", node["name"], f"http://{address}/")
        assert "GET /" in run("logs", "echo", "--tail", "1")
        assert "ip" in run("exec", node["name"], "basename", "/usr/bin/ip")
    finally:
        run("down")
    assert cluster.left() == []


@contextlib.contextmanager
def standing_in(folder: Path, path: str) -> Iterator[None]:
    home, before = Path.cwd(), os.environ["PATH"]
    os.chdir(folder)
    os.environ["PATH"] = path
    try:
        yield
    finally:
        os.chdir(home)
        os.environ["PATH"] = before


def test_what_the_bench_starts(trap: Trap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from kcompile_bench import environment
    from kcompile_bench.kit import drive, handshake, record
    from kcompile_bench.kit.lab_place import _KCOMPILE
    from kcompile_bench.kit.netns_cluster import NetnsPlace
    from kcompile_bench.spawned import cost_of

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))
    drive.program.cache_clear()
    with standing_in(trap.folder, "."):
        assert cost_of([*_KCOMPILE, "--version"]).wall > 0
        environment.environment()
        record.environment("here")
        handshake._python.cache_clear()
        handshake._python()
        with NetnsPlace().cluster("nftables", ["10.244.0.10"]) as cluster:
            process = cluster.start(
                "node-a", [*cluster.kcompile, "doctor", "--mode", "nftables"], **cluster.environment("node-a")
            )
            assert "nftables" in drive.finish(process, 120, "doctor")
    drive.program.cache_clear()


def test_what_the_demo_starts(trap: Trap):
    import importlib.util

    path = Path(__file__).resolve().parents[2] / "examples/article/demo.py"
    spec = importlib.util.spec_from_file_location("kctest_demo", path)
    assert spec is not None
    assert spec.loader is not None
    demo = importlib.util.module_from_spec(spec)
    kept = list(sys.path)
    try:
        spec.loader.exec_module(demo)
        with standing_in(trap.folder, "."):
            assert "nftables" in demo.modes()
            assert (
                "version"
                in demo.spawn.run(
                    [*demo.spawn.python("kcompile"), "--version"], capture_output=True, text=True
                ).stdout
            )
    finally:
        sys.path[:] = kept
