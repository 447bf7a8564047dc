"""What an apply does beside the rules: sysctls, UDP flows, the health check responder, a change of mode; on
real packets.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harness import modes, netns
from harness.listeners import Listeners
from harness.loop import Loop
from harness.topology import Topology

pytestmark = pytest.mark.kernel
NODE, CLIENT, ONE, TWO = "192.0.2.10", "10.244.0.5", "10.244.0.21", "10.244.0.22"


class Machine:
    """A node with a client pod and two server pods, and the command line on it."""

    def __init__(self, topology: Topology, loop: Loop, folder: Path) -> None:
        self.topology, self.loop, self.folder = topology, loop, folder
        self.env = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }

    def run(self, *args: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "kcompile", *args, "--netns", self.topology.node]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apply(self, *objects: dict, mode: str = "nftables", extra: tuple[str, ...] = ()) -> str:
        path = self.folder / "specs.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        return self.run("apply", "--mode", mode, "-f", str(path), "--node", "node-a", *extra)

    def sysctl(self, name: str) -> str:
        with netns.enter(self.topology.node):
            return Path("/proc/sys", name.replace(".", "/")).read_text().strip()


@pytest.fixture
def machine(tmp_path):
    with Topology([NODE], [CLIENT, ONE, TWO]) as topology, Loop() as loop:
        made = Machine(topology, loop, tmp_path)
        yield made
        made.run("delete")


def node() -> dict:
    status = {"addresses": [{"type": "InternalIP", "address": NODE}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}, "status": status}


def service(name: str, ip: str, protocol: str = "TCP", **spec) -> dict:
    ports = [{"name": "p", "port": 53, "protocol": protocol, **spec.pop("port", {})}]
    meta = {"name": name, "namespace": "demo"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"clusterIP": ip, "ports": ports, **spec},
    }


def endpoints(name: str, *ips: str, protocol: str = "TCP") -> dict:
    meta = {"name": f"{name}-1", "namespace": "demo", "labels": {"kubernetes.io/service-name": name}}
    backends = [{"addresses": [ip], "nodeName": "node-a"} for ip in ips]
    ports = [{"name": "p", "port": 5353, "protocol": protocol}]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": backends,
        "ports": ports,
    }


class UdpClient:
    """A UDP client that keeps its port, so that all its packets are one conntrack flow."""

    def __init__(self, machine: Machine) -> None:
        self.loop = machine.loop
        self.answers: list[str] = []
        with netns.enter(machine.topology.home(CLIENT)):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.bind((CLIENT, 0))
        self.loop.add(self.sock, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self.answers.append(self.sock.recv(200).split()[0].decode())

    def ask(self, ip: str, timeout: float = 3.0) -> str:
        """Who answers, empty where nobody does."""
        self.answers.clear()
        for _ in range(10):
            with contextlib.suppress(ConnectionRefusedError):  # the answer to an earlier packet
                self.sock.sendto(b"who?\n", (ip, 53))
            if self.loop.run(lambda: bool(self.answers), timeout / 10):
                return self.answers[0]
        return ""


@pytest.mark.parametrize("mode", list(modes.MODES))
def test_udp_flows_follow_their_service(machine, mode):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    listeners = Listeners(machine.loop)
    for ip in (ONE, TWO):
        listeners.open(machine.topology.home(ip), ip, 5353, "UDP")
    dns = service("dns", "10.96.0.10", "UDP")
    client = UdpClient(machine)
    machine.apply(dns, endpoints("dns", ONE, protocol="UDP"), mode=mode)
    assert client.ask("10.96.0.10") == f"{ONE}:5353"
    machine.apply(dns, endpoints("dns", TWO, protocol="UDP"), mode=mode)
    assert client.ask("10.96.0.10") == f"{TWO}:5353", "the flow still goes to the backend that is gone"
    # kube-proxy 1.36 forgets these two: no endpoints any more, and the Service deleted
    machine.apply(dns, mode=mode)
    assert client.ask("10.96.0.10", 0.5) == ""
    machine.apply(dns, endpoints("dns", ONE, protocol="UDP"), mode=mode)
    assert client.ask("10.96.0.10") == f"{ONE}:5353", "the rejected flow was not forgotten"
    machine.apply(mode=mode, extra=("--allow-empty",))
    assert client.ask("10.96.0.10", 0.5) == ""


def test_sysctls_are_set_shown_and_put_back(machine):
    with netns.enter(machine.topology.node):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    specs = service("web", "10.96.0.11", type="NodePort"), endpoints("web", ONE)
    out = machine.apply(*specs, mode="iptables-legacy", extra=("--dry-run",))
    assert "sysctl net.ipv4.ip_forward = 1" in out
    assert "sysctl net.ipv4.conf.all.route_localnet = 1" in out
    assert machine.sysctl("net.ipv4.ip_forward") == "0"
    machine.apply(*specs, mode="iptables-legacy")
    assert machine.sysctl("net.ipv4.ip_forward") == "1"
    assert machine.sysctl("net.ipv4.conf.all.route_localnet") == "1"
    machine.apply(*specs, mode="nftables")
    assert machine.sysctl("net.ipv4.conf.all.route_localnet") == "0", "nftables mode has no use for it"
    machine.run("delete")
    assert machine.sysctl("net.ipv4.ip_forward") == "0"
    assert "Nothing to delete" in machine.run("delete")


@pytest.mark.parametrize("mode", ["nftables", "iptables-legacy"])
def test_forwarding_stays_when_the_last_service_goes(machine, mode):
    with netns.enter(machine.topology.node):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    web = (service("web", "10.96.0.10"), endpoints("web", ONE))
    machine.apply(node(), *web, mode=mode)
    specs = machine.folder / "specs.json"
    machine.run("delete", "-f", str(specs))
    assert machine.sysctl("net.ipv4.ip_forward") == "1", "open connections need it"
    assert machine.run("get", "services").startswith("No resources found")
    machine.run("delete")
    assert machine.sysctl("net.ipv4.ip_forward") == "0"


def health(machine: Machine, port: int) -> tuple[int, dict, str]:
    with netns.enter(machine.topology.node):
        try:
            reply = urllib.request.urlopen(f"http://{NODE}:{port}/", timeout=3)
        except urllib.error.HTTPError as e:
            reply = e
        with reply:
            return reply.status, json.loads(reply.read()), reply.headers["X-Load-Balancing-Endpoint-Weight"]


def test_the_health_check_port_answers_after_apply_and_is_gone_after_delete(machine):
    lb = service(
        "lb",
        "10.96.0.12",
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=30900,
        port={"nodePort": 30012},
    )
    machine.apply(node(), lb, endpoints("lb", ONE, TWO))
    status, body, weight = health(machine, 30900)
    assert (status, weight) == (200, "2")
    assert body == {
        "service": {"namespace": "demo", "name": "lb"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    machine.apply(node(), lb)
    assert health(machine, 30900)[0] == 503
    assert "No changes" in machine.apply(node(), lb)
    (pid,) = netns.pids(machine.topology.node)
    os.kill(pid, 9)
    assert "No changes" not in machine.apply(node(), lb), "a dead responder is started again"
    assert health(machine, 30900)[0] == 503
    machine.run("delete")
    with pytest.raises(urllib.error.URLError):
        health(machine, 30900)
    assert netns.pids(machine.topology.node) == []


def test_a_change_of_mode_leaves_one_mode_and_the_open_connection(machine):
    listeners = Listeners(machine.loop)
    listeners.open(machine.topology.home(ONE), ONE, 5353, "UDP")
    dns = service("dns", "10.96.0.10", "UDP"), endpoints("dns", ONE, protocol="UDP")
    client = UdpClient(machine)
    for mode in ("iptables-legacy", "nftables", "iptables-nft", "nftables", "iptables-legacy"):
        machine.apply(*dns, mode=mode)
        assert client.ask("10.96.0.10") == f"{ONE}:5353"
        shown = json.loads(machine.run("get", "services", "-o", "json"))
        assert {item["mode"] for item in shown} == {mode}


def test_delete_takes_out_the_named_services_only(machine):
    web, dns = service("web", "10.96.0.11"), service("dns", "10.96.0.10")
    machine.apply(web, dns, endpoints("web", ONE), endpoints("dns", TWO))
    path = machine.folder / "web.json"
    path.write_text(json.dumps(web))
    out = machine.run("delete", "-f", str(path))
    assert "Deleted" in out
    assert {item["service"] for item in json.loads(machine.run("get", "services", "-o", "json"))} == {
        "demo/dns:p"
    }


def test_exit_codes_of_plan_and_diff(machine):
    path = machine.folder / "web.json"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [service("web", "10.96.0.11"), endpoints("web", ONE)],
            }
        )
    )
    args = ("-f", str(path), "--mode", "nftables")
    machine.run("plan", *args)
    machine.run("plan", "--detailed-exitcode", *args, code=2)
    machine.run("diff", *args, code=1)
    machine.run("apply", *args)
    assert "No changes" in machine.run("plan", "--detailed-exitcode", *args)
    assert machine.run("diff", *args) == ""
    path.write_text("{")
    machine.run("plan", *args, code=2)
    machine.run("plan", "--detailed-exitcode", *args, code=1)
    assert machine.run("diff", *args, code=2).count("\n") == 1


def test_a_dry_run_against_the_kernel_writes_nothing(machine):
    for mode in modes.MODES:
        if not modes.missing(mode):
            machine.apply(
                service("web", "10.96.0.11"), endpoints("web", ONE), mode=mode, extra=("--dry-run=kernel",)
            )
    assert "No resources found" in machine.run("get", "services")


def test_two_applies_at_once_take_turns(machine):
    paths = []
    for i in range(2):
        paths.append(machine.folder / f"{i}.json")
        items = [service("web", f"10.96.0.{20 + i}"), endpoints("web", ONE)]
        paths[-1].write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    command = [
        sys.executable,
        "-m",
        "kcompile",
        "apply",
        "--mode",
        "nftables",
        "--netns",
        machine.topology.node,
        "-f",
    ]
    running = [
        subprocess.Popen([*command, str(path)], env=machine.env, stdout=subprocess.PIPE)
        for path in paths
        for _ in range(3)
    ]
    assert [(p.communicate(timeout=60), p.returncode)[1] for p in running] == [0] * 6
    (item,) = json.loads(machine.run("get", "services", "-o", "json"))
    assert item["address"] in ("10.96.0.20", "10.96.0.21")


def test_the_health_responder_ends_with_its_namespace(tmp_path):
    env = {
        **os.environ,
        "KCOMPILE_RUN_DIR": str(tmp_path / "run"),
        "KCOMPILE_STATE_DIR": str(tmp_path / "state"),
    }
    lb = service(
        "lb", "10.96.0.12", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30900
    )
    path = tmp_path / "lb.json"
    path.write_text(json.dumps(lb))
    with netns.group(["gone"]) as names:
        command = [
            sys.executable,
            "-m",
            "kcompile",
            "apply",
            "--mode",
            "nftables",
            "-f",
            str(path),
            "--netns",
            names["gone"],
        ]
        subprocess.run(command, env=env, check=True, capture_output=True)
        (pid,) = netns.pids(names["gone"])
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("mode", list(modes.MODES))
@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_get_shows_every_backend(machine, mode, count):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    ips = [f"10.244.1.{i}" for i in range(1, count + 1)]
    open_, sticky = (
        service("web", "10.96.0.11", type="NodePort"),
        service("sticky", "10.96.0.12", sessionAffinity="ClientIP"),
    )
    machine.apply(
        open_,
        sticky,
        service("only", "10.96.0.13"),
        *(endpoints(n, *ips) for n in ("web", "sticky", "only")),
        mode=mode,
    )
    shown = json.loads(machine.run("get", "services", "-o", "json"))
    wanted = [f"{ip}:5353" for ip in ips]
    assert [(s["service"], s["kind"], sorted(s["backends"])) for s in shown] == [
        ("demo/only:p", "ClusterIP", wanted),
        ("demo/sticky:p", "ClusterIP", wanted),
        ("demo/web:p", "ClusterIP", wanted),
        ("demo/web:p", "NodePort", wanted),
    ]
    assert [s["affinitySeconds"] for s in shown] == [0, 10800, 0, 0]
