"""Mode xdp on real packets: what must survive changes and re-applies, and what must not be mistaken for
something else.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from harness import ebpf, modes, netns
from harness.topology import Topology
from kcompile.ir.model import Dataplane, Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings, Xdp
from kcompile.kernel import facts
from kcompile.kernel.bpf import attach, node, pins
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.passes import resolve
from kcompile.program import diff
from kcompile.targets.xdp import XdpTarget
from kcompile.targets.xdp.resources import AttachKey

pytestmark = pytest.mark.kernel
NODE, CLIENT, OUTSIDER = "192.0.2.10", "10.244.0.5", "203.0.113.7"
PODS = ("10.244.0.21", "10.244.0.22", "10.244.0.23", "10.244.0.24")
VIP, NODE_PORT = "10.96.0.20", 30080
TARGET = XdpTarget()


class Echo(threading.Thread):
    """Sends back what comes to port 8080 of each of `pods`, by TCP and UDP, behind the pod's own address."""

    def __init__(self, topology: Topology, pods: Sequence[str]) -> None:
        super().__init__(daemon=True)
        import selectors

        self.selector = selectors.DefaultSelector()
        self.wake, self.woken = socket.socketpair()
        self.selector.register(self.woken, selectors.EVENT_READ, None)
        for pod in pods:
            with netns.enter(topology.pods[pod]):
                tcp, udp = (
                    socket.create_server((pod, 8080), backlog=512),
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
                )
                udp.bind((pod, 8080))
            self.selector.register(tcp, selectors.EVENT_READ, lambda s=tcp, p=pod: self.accept(s, p))
            self.selector.register(udp, selectors.EVENT_READ, lambda s=udp, p=pod: self.datagram(s, p))

    def run(self) -> None:
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                with contextlib.suppress(OSError):
                    key.data()

    def accept(self, listener: socket.socket, pod: str) -> None:
        connection, _ = listener.accept()

        def answer() -> None:
            data = connection.recv(4096)
            if data:
                connection.sendall(pod.encode() + b" " + data)
            else:
                self.selector.unregister(connection)
                connection.close()

        self.selector.register(connection, 1, answer)

    def datagram(self, sock: socket.socket, pod: str) -> None:
        data, peer = sock.recvfrom(4096)
        sock.sendto(pod.encode() + b" " + data, peer)

    def end(self) -> None:
        self.wake.send(b"x")
        self.join(5)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
        self.wake.close()


class Machine:
    """A node with a client pod, four pods that echo, and mode xdp."""

    def __init__(self, topology: Topology, folder: Path, sockets: str, cgroup: str) -> None:
        self.topology, self.folder = topology, folder
        self.xdp = Xdp(sockets=sockets, cgroup=cgroup)

    def dataplane(self, pods: Sequence[str], protocol: Protocol = Protocol.TCP) -> Dataplane:
        with netns.enter(self.topology.node):
            about = NodeFacts(
                name="node-a", addresses=(NODE,), interfaces=facts.interface_addresses(), links=facts.links()
            )
        detector = Detector(DetectMode.CLUSTER_CIDR, "10.244.0.0/16")
        how = Settings(
            compat=Compat.of("nftables"), detector=detector, service_cidrs=("10.96.0.0/12",), xdp=self.xdp
        )
        endpoints = tuple(Endpoint(ip, 8080, "node-a") for ip in pods)
        fields = {
            "family": Family.IPV4,
            "protocol": protocol,
            "port": 80,
            "endpoints": endpoints,
            "node_port": NODE_PORT,
        }
        return resolve([ServicePort(name="demo/web:http", cluster_ip=VIP, **fields)], about, how)

    def apply(self, pods: Sequence[str], protocol: Protocol = Protocol.TCP) -> XdpKernel:
        """What a command does, from the beginning: nothing is kept from the last."""
        with netns.enter(self.topology.node):
            kernel = XdpKernel(self.folder / "run" / "node")
            assert kernel.apply(diff(kernel.observe(), TARGET.lower(self.dataplane(pods, protocol)))) == []
            return kernel

    def connect(
        self, source: str, destination: tuple[str, int], kind: int = socket.SOCK_STREAM, port: int = 0
    ) -> socket.socket:
        with netns.enter(self.topology.home(source)):
            sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source != NODE or port:
            sock.bind((source, port))
        sock.connect(destination)
        return sock


def ask(sock: socket.socket, word: str = "hello") -> str:
    """Who echoes."""
    sock.sendall(word.encode())
    pod, _, said = sock.recv(4096).decode().partition(" ")
    assert said == word
    return pod


@pytest.fixture(params=["tcp", "off"])
def machine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machine]:
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        bpf = stack.enter_context(ebpf.bpffs(tmp_path))
        monkeypatch.setenv("KCOMPILE_BPF_DIR", str(bpf))
        monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))
        cgroup = stack.enter_context(ebpf.cgroup())
        topology = stack.enter_context(Topology([NODE], [CLIENT, *PODS]))
        netns.sysctl(topology.node, {"ipv4/conf/lo/accept_local": 1, "ipv4/conf/lo/rp_filter": 0})
        echo = Echo(topology, PODS)
        echo.start()
        made = Machine(topology, tmp_path, request.param, str(cgroup))
        try:
            yield made
        finally:
            echo.end()
            with netns.enter(topology.node):
                XdpKernel(tmp_path / "run" / "node").remove()
            assert ebpf.programs(topology.node) == []


def test_rolling_changes_break_no_connection_to_a_survivor(machine: Machine):
    """A hundred changes of endpoints, two of four pods always staying; connections from a pod, from the node
    and from outside.
    """
    rng = random.Random(1)
    survivors = PODS[:2]
    machine.apply(PODS)
    places = ((CLIENT, (VIP, 80)), (NODE, (VIP, 80)), (OUTSIDER, (NODE, NODE_PORT)))
    held: list[tuple[socket.socket, str]] = []
    for source, destination in places * 12:
        sock = machine.connect(source, destination)
        held.append((sock, ask(sock)))
    assert {pod for _, pod in held} == set(PODS)
    kept = [(sock, pod) for sock, pod in held if pod in survivors]
    for number in range(100):
        live = (*survivors, *rng.sample(PODS[2:], rng.randrange(3)))
        machine.apply(live)
        for sock, pod in rng.sample(kept, 6):
            assert ask(sock, f"change {number}") == pod
        source, destination = places[number % 3]
        with machine.connect(source, destination) as fresh:
            assert ask(fresh) in live
    for sock, pod in kept:
        assert ask(sock) == pod
    for sock, _ in held:
        sock.close()


def test_applying_again_breaks_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    """Twenty times, half of them with programs of another build: links get new programs, and stay."""
    kernel = machine.apply(PODS)
    held = [machine.connect(CLIENT, (VIP, 80)) for _ in range(8)] + [
        machine.connect(OUTSIDER, (NODE, NODE_PORT)) for _ in range(8)
    ]
    pods = [ask(sock) for sock in held]
    with netns.enter(machine.topology.node):
        before = dict(attach.attached(kernel.links))
    for number in range(20):
        if number % 2:
            monkeypatch.setattr(node, "build", lambda n=number: f"build-{n}")
        machine.apply(PODS)
        assert [ask(sock, f"apply {number}") for sock in held] == pods
    with netns.enter(machine.topology.node):
        after = dict(attach.attached(kernel.links))
        assert len(list(kernel.programs.iterdir())) == 1
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    for sock in held:
        sock.close()


def test_a_direct_connection_with_the_ports_of_a_translated_one(machine: Machine):
    """The same client port to the pod's own address: its packets and the answers are told apart from the
    Service's.
    """
    machine.apply(PODS[:1])
    for source, port in ((CLIENT, 40001), (OUTSIDER, 40002)):
        translated = machine.connect(
            source, (VIP if source == CLIENT else NODE, 80 if source == CLIENT else NODE_PORT), port=port
        )
        assert ask(translated, "one") == PODS[0]
        direct = machine.connect(source, (PODS[0], 8080), port=port)
        for word in ("two", "three"):
            assert ask(direct, word) == PODS[0]
            assert ask(translated, word) == PODS[0]
        direct.close()
        assert ask(translated, "four") == PODS[0]
        translated.close()


def test_udp_flows_leave_a_backend_that_is_gone(machine: Machine):
    machine.apply(PODS[:1], Protocol.UDP)
    clients = [
        machine.connect(CLIENT, (VIP, 80), socket.SOCK_DGRAM),
        machine.connect(OUTSIDER, (NODE, NODE_PORT), socket.SOCK_DGRAM),
    ]
    assert [ask(sock) for sock in clients] == [PODS[0], PODS[0]]
    machine.apply(PODS[:2], Protocol.UDP)
    assert [ask(sock) for sock in clients] == [PODS[0], PODS[0]]
    machine.apply(PODS[1:2], Protocol.UDP)
    assert [ask(sock) for sock in clients] == [PODS[1], PODS[1]]
    for sock in clients:
        sock.close()


@pytest.mark.parametrize("how", ["generic", "native"])
def test_xdp_before_tc(machine: Machine, how: str):
    """On the uplink too: packets for this node's pods are left to tc, and nothing is lost when XDP comes or
    goes.
    """
    machine.xdp = msgspec.structs.replace(machine.xdp, attach=how)
    with machine.connect(OUTSIDER, (PODS[0], 8080)) as before:
        kernel = machine.apply(PODS)
        assert ask(before) == PODS[0]
        with netns.enter(machine.topology.node):
            assert kernel.observe()[AttachKey("xdp", "eth0")] == how
        held = [machine.connect(OUTSIDER, (NODE, NODE_PORT)) for _ in range(4)]
        pods = [ask(sock) for sock in held]
        machine.xdp = msgspec.structs.replace(machine.xdp, attach="auto")
        machine.apply(PODS)
        assert [ask(sock) for sock in held] == pods
        assert ask(before) == PODS[0]
        with netns.enter(machine.topology.node):
            assert AttachKey("xdp", "eth0") not in kernel.observe()
        for sock in held:
            sock.close()


def test_filters_of_clsact_where_there_is_no_tcx(machine: Machine, monkeypatch: pytest.MonkeyPatch):
    """Kernels before 6.6: seen, kept, replaced and removed like links."""
    monkeypatch.setattr(attach, "has_tcx", lambda: False)
    kernel = machine.apply(PODS)
    with machine.connect(CLIENT, (VIP, 80)) as sock:
        pod = ask(sock)
        with netns.enter(machine.topology.node):
            assert kernel.observe() == TARGET.lower(machine.dataplane(PODS))
            assert not [
                path for path in pins.pins(kernel.links) if path.name.startswith(("ingress", "egress"))
            ]
        monkeypatch.setattr(node, "build", lambda: "another")
        machine.apply(PODS)
        assert ask(sock) == pod
    with netns.enter(machine.topology.node):
        theirs = attach.Attachment("egress", socket.if_nametoindex("pod0"))
        with monkeypatch.context() as foreign:
            foreign.setattr(attach, "_PRIORITY", 7)
            attach.attach(kernel.links, theirs, pins.open_pin(kernel.programs / "another" / "egress"))
        kernel.remove()
        left = subprocess.run(
            ["tc", "filter", "show", "dev", "pod0", "ingress"], capture_output=True, text=True, check=True
        ).stdout
        assert "bpf" not in left
        queues = subprocess.run(["tc", "qdisc", "show"], capture_output=True, text=True, check=True).stdout
        assert [line.split()[4] for line in queues.splitlines() if "clsact" in line] == ["pod0"], (
            "what others have stays"
        )
        subprocess.run(["tc", "qdisc", "del", "dev", "pod0", "clsact"], check=True)


def test_attachments_that_are_wrong_are_put_right(machine: Machine):
    """A link that somebody detached, an interface that is new, one that is gone: the next apply sees and
    mends it.
    """
    kernel = machine.apply(PODS)
    topology = machine.topology
    netns.batch(["link add extra type veth peer name extra-peer", "link set extra up"], topology.node)
    with netns.enter(topology.node):
        found = {key: value for key, value in kernel.observe().items() if key.kind == "attach"}
        attach.detach(kernel.links, attach.Attachment("ingress", socket.if_nametoindex("pod0")))
        lost = kernel.observe()
    assert AttachKey("ingress", "pod0") in found
    assert AttachKey("ingress", "pod0") not in lost
    machine.apply(PODS)
    with netns.enter(topology.node):
        mended = kernel.observe()
    assert {
        AttachKey("ingress", "pod0"),
        AttachKey("ingress", "extra"),
        AttachKey("egress", "extra-peer"),
    } <= set(mended)
    with machine.connect(CLIENT, (VIP, 80)) as sock:
        assert ask(sock) in PODS
    netns.batch(["link del extra"], topology.node)
    machine.apply(PODS)
    with netns.enter(topology.node):
        assert kernel.observe() == TARGET.lower(machine.dataplane(PODS))


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
        assert "warning: Service demo/web:assoc: mode xdp has no SCTP" in said
        assert (
            "warning: eth0: native XDP on a veth costs its segmentation offload; Services are served there by tc alone"
            in said
        )
        assert "No changes" in run(*apply, "--mode", "xdp", "--socket-lb", "off")
        with machine.connect(CLIENT, (VIP, 80), port=41000) as sock:
            pod = ask(sock)
            (connection,) = json.loads(run("get", "connections", "-o", "json"))
            assert connection.pop("age") < 5
            assert connection == {
                "service": "demo/web:http", "family": 4, "protocol": "TCP", "client": f"{CLIENT}:41000", "frontend": f"{VIP}:80",
                "endpoint": f"{pod}:8080", "masqueraded": False,
            }  # fmt: skip
            assert f"counter demo/web:http (tcp) {pod}:8080: 1 connections" in run("get", "rules")
        services = json.loads(run("get", "services", "-o", "json"))
        assert [(s["mode"], s["kind"], s["address"], s["port"]) for s in services] == [
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
