"""Mode xdp on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import ebpf, modes, netns
from harness.topology import Topology
from harness.xdpnode import CLIENT, NODE, NODE_PORT, PODS, VIP, Echo, Machine, ask

pytestmark = pytest.mark.kernel


def test_the_command_line(tmp_path: Path):
    """apply, get, a change of mode there and back, delete."""
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    ports = [
        {"name": "http", "port": 80, "nodePort": NODE_PORT, "protocol": "TCP"},
        {"name": "assoc", "port": 90, "protocol": "SCTP"},
    ]
    meta = {"name": "web", "namespace": "demo"}
    items = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "node-a"},
            "status": {"addresses": [{"type": "InternalIP", "address": NODE}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"type": "NodePort", "clusterIP": VIP, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "nodeName": "node-a"} for ip in PODS[:2]],
            "ports": [
                {"name": "http", "port": 8080, "protocol": "TCP"},
                {"name": "assoc", "port": 9090, "protocol": "SCTP"},
            ],
        },
    ]
    specs = tmp_path / "specs.json"
    specs.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    with ebpf.bpffs(tmp_path) as bpf, Topology([NODE], [CLIENT, *PODS]) as topology:
        env = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(tmp_path / "run"),
            "KCOMPILE_STATE_DIR": str(tmp_path / "state"),
            "KCOMPILE_BPF_DIR": str(bpf),
        }

        def run(*words: str, code: int = 0) -> str:
            command = [sys.executable, "-m", "kcompile", *words, "--netns", topology.node]
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout + done.stderr

        echo = Echo(topology, PODS)
        echo.start()
        machine = Machine(topology, tmp_path, "off", "")
        apply = ("apply", "-f", str(specs))
        said = run(*apply, "--mode", "xdp", "--socket-lb", "off")
        assert "demo/web:assoc  ClusterIP 10.96.0.20:90/SCTP" in said
        assert (
            "warning: eth0: native XDP on a veth costs its segmentation offload; "
            "Services are served there by tc alone"
        ) in said
        assert "No changes" in run(*apply, "--mode", "xdp", "--socket-lb", "off")
        with machine.connect(CLIENT, (VIP, 80), port=41000) as sock:
            pod = ask(sock)
            (connection,) = json.loads(run("get", "connections", "-o", "json"))
            assert connection.pop("age") < 5
            assert connection == {
                "service": "demo/web:http", "family": 4, "protocol": "TCP", "client": f"{CLIENT}:41000",
                "frontend": f"{VIP}:80",
                "endpoint": f"{pod}:8080", "masqueraded": False,
            }  # fmt: skip
            assert f"counter demo/web:http (tcp) {pod}:8080: 1 connections" in run("get", "rules")
        services = json.loads(run("get", "services", "-o", "json"))
        assert {s["port"] for s in services if s["protocol"] == "SCTP" and s["address"] == VIP} == {90}
        assert [
            (s["mode"], s["kind"], s["address"], s["port"]) for s in services if s["protocol"] == "TCP"
        ] == [
            ("xdp", "ClusterIP", VIP, 80), ("xdp", "NodePort", "*", NODE_PORT),
        ]  # fmt: skip
        for mode in ("nftables", "xdp"):
            run(*apply, "--mode", mode, *(("--socket-lb", "off") if mode == "xdp" else ()))
            assert {s["mode"] for s in json.loads(run("get", "services", "-o", "json"))} == {mode}
            with machine.connect(CLIENT, (VIP, 80)) as sock:
                assert ask(sock) in PODS
        assert bool(ebpf.programs(topology.node))
        run("delete")
        assert ebpf.programs(topology.node) == []
        assert ebpf.leftovers("xdp", tmp_path) == []
        assert json.loads(run("get", "services", "-o", "json") or "[]") == []
        refused = run(*apply, "--mode", "xdp", "--xdp-capacity", "pages=5", code=2)
        assert refused.startswith("kcompile: --xdp-capacity: 'pages=5' is not MAP=ENTRIES")
        refused = run(*apply, "--mode", "xdp", "--cgroup", str(tmp_path), code=2)
        assert refused == f"kcompile: --cgroup: {tmp_path} is not a directory of a cgroup2\n"
        env["KCOMPILE_BPF_DIR"] = str(tmp_path / "plain")
        refused = run(*apply, "--mode", "xdp", "--socket-lb", "off", code=1)
        assert "is not in a bpffs (mount -t bpf bpf /sys/fs/bpf)" in refused.splitlines()[-1]
        with netns.enter(topology.node):
            assert Path("/proc/sys/net/ipv4/conf/lo/accept_local").read_text().strip() == "0"
        echo.end()
