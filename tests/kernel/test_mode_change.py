"""A live node changes to mode ipvs and away from it: no open connection ends, no new one fails; counted on
real packets.
"""

import contextlib
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import modes, netns
from harness.command import ours
from harness.listeners import family
from harness.topology import Topology

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
NODE, CLIENT, PODS, OUTSIDE = "192.0.2.10", "10.244.0.5", ("10.244.0.21", "10.244.0.22"), "203.0.113.7"
NODE_6, CLIENT_6, POD_6 = "2001:db8::10", "fd00:10:244::5", "fd00:10:244::21"
NODE_PORT = 30080
# name of the way in, who connects from where (None: the node itself), to what
WAYS = {
    "pod to ClusterIP": (CLIENT, ("10.96.0.10", 80)),
    "node to ClusterIP": (None, ("10.96.0.10", 80)),
    "outside to NodePort": (OUTSIDE, (NODE, NODE_PORT)),
    "pod to ClusterIP with affinity": (CLIENT, ("10.96.0.11", 80)),
    "outside to external IP with affinity": (OUTSIDE, ("198.51.100.9", 80)),
    "pod to ClusterIP by IPv6": (CLIENT_6, ("fd00:10:96::10", 80)),
    "node to ClusterIP by IPv6": (None, ("fd00:10:96::10", 80)),
}
PAUSE = 0.08
ROUNDS = 5
"""How many more times every open connection must answer, and every way must be taken anew, after each change.
"""


def manifests() -> str:
    items: list[dict] = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "node-a"},
            "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in (NODE, NODE_6)]},
        }
    ]
    port = {"name": "p", "port": 80, "protocol": "TCP"}
    udp = {"name": "p", "port": 53, "protocol": "UDP"}
    for name, spec, target in (
        (
            "web",
            {"clusterIP": "10.96.0.10", "type": "NodePort", "ports": [{**port, "nodePort": NODE_PORT}]},
            {"port": 8080},
        ),
        (
            "sticky",
            {
                "clusterIP": "10.96.0.11",
                "externalIPs": ["198.51.100.9"],
                "sessionAffinity": "ClientIP",
                "ports": [port],
            },
            {"port": 8080},
        ),
        ("web6", {"clusterIP": "fd00:10:96::10", "ports": [port]}, {"port": 8080}),
        ("dns", {"clusterIP": "10.96.0.12", "ports": [udp]}, {"port": 5353, "protocol": "UDP"}),
    ):
        meta = {"name": name, "namespace": "demo"}
        kind, pods = ("IPv6", (POD_6,)) if name == "web6" else ("IPv4", PODS)
        items.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        items.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "labels": {"kubernetes.io/service-name": name}},
                "addressType": kind,
                "endpoints": [{"addresses": [ip], "nodeName": "node-a"} for ip in pods],
                "ports": [{"name": "p", "protocol": "TCP", **target}],
            }
        )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


class Node:
    """The command line on a node."""

    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.folder = namespace, folder
        self.environment = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }
        (folder / "specs.json").write_text(manifests())

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "kcompile", *arguments, "--netns", self.namespace]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apply(self, mode: str) -> str:
        name, _, backend = mode.partition("/")
        choice = ["--iptables-backend", backend] if backend else []
        return self.run(
            "apply", "--mode", name, *choice, "-f", str(self.folder / "specs.json"), "--node", "node-a"
        )

    def let_time_pass(self) -> None:
        """As long as real servers may drain."""
        path = netns.run_directory(self.folder / "run", self.namespace) / "draining.json"
        kept = json.loads(path.read_text())
        path.write_text(json.dumps({**kept, "value": dict.fromkeys(kept["value"], 0.0)}))

    def frontends(self) -> list[dict]:
        return json.loads(self.run("get", "services", "-o", "json") or "[]")


@contextlib.contextmanager
def echoing(topology: Topology) -> Iterator[None]:
    """Every pod says back what it is told, by TCP and UDP."""
    sockets = []

    def echo(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(100):
                connection.sendall(data)

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    def answer(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (received := sock.recvfrom(100))[1]:  # no sender: shut down
                sock.sendto(*received)

    for ip in (*PODS, POD_6):
        with netns.enter(topology.home(ip)):
            sockets.append((socket.create_server((ip, 8080), family=family(ip), backlog=128), accept))
            if ip in PODS:
                sockets.append((socket.socket(socket.AF_INET, socket.SOCK_DGRAM), answer))
                sockets[-1][0].bind((ip, 5353))
    for sock, serve in sockets:
        threading.Thread(target=serve, args=(sock,), daemon=True).start()
    yield
    for sock, _ in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


class Traffic:
    """Data on open connections and new connections on every way, as long as the context lasts."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.open: dict[str, socket.socket] = {}
        self.answers: Counter[str] = Counter()
        self.fresh: Counter[str] = Counter()
        self.lost: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._loop, args=(work,)) for work in (self._talk, self._connect)
        ]
        with netns.enter(topology.home(CLIENT)):
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._udp.bind((CLIENT, 0))

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for connection in (*self.open.values(), self._udp):
            connection.close()

    def begin(self, label: str) -> None:
        """A connection on every way, to stay open."""
        for way in WAYS:
            self.open[f"{way}, begun in {label}"] = self._to(way)

    def end(self, label: str) -> None:
        """End the connections that `begin` made."""
        for name in [name for name in self.open if name.endswith(f", begun in {label}")]:
            self.open.pop(name).close()

    def ask(self) -> bool:
        """A datagram of the one flow that there is; within a second it is answered, or sent again."""
        for _ in range(5):
            question = struct.pack("d", time.monotonic())
            with contextlib.suppress(OSError):
                self._udp.settimeout(1)
                self._udp.sendto(question, ("10.96.0.12", 53))
                if self._udp.recv(100) == question:
                    return True
        return False

    def settle(self) -> None:
        """Wait until everything has worked ROUNDS times more."""
        goals = (
            {name: self.answers[name] + ROUNDS for name in self.open},
            {way: self.fresh[way] + ROUNDS for way in WAYS},
        )
        end = time.monotonic() + 60
        while any(
            counts[name] < goal
            for counts, wanted in zip((self.answers, self.fresh), goals, strict=True)
            for name, goal in wanted.items()
        ):
            assert self.lost == []
            assert time.monotonic() < end, "no traffic"
            time.sleep(PAUSE)

    def _to(self, way: str) -> socket.socket:
        source, destination = WAYS[way]
        with netns.enter(self._topology.home(source) if source else self._topology.node):
            connection = socket.socket(family(destination[0]))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.settimeout(10)
        try:
            if source:
                connection.bind((source, 0))
            connection.connect(destination)
        except OSError:
            connection.close()
            raise
        return connection

    def _loop(self, work: Callable[[], None]) -> None:
        pause = PAUSE
        while not self._over.wait(pause):
            began = time.monotonic()
            work()
            pause = max(PAUSE, 3 * (time.monotonic() - began))  # the applies need a CPU too

    def _talk(self) -> None:
        for name, connection in list(self.open.items()):
            try:
                exchange(connection)
                self.answers[name] += 1
            except OSError as error:
                if self.open.pop(name, None):  # else it was ended
                    connection.close()
                    self.lost.append(f"{name}: {error} after {self.answers[name]} answers")

    def _connect(self) -> None:
        for way in WAYS:
            try:
                with self._to(way) as connection:
                    exchange(connection)
                self.fresh[way] += 1
            except OSError as error:
                self.lost.append(f"a new connection, {way}: {error}")


def exchange(connection: socket.socket) -> None:
    question = struct.pack("d", time.monotonic())
    connection.sendall(question)
    answer = b""
    while len(answer) < len(question):
        data = connection.recv(100)
        if not data:
            raise ConnectionError("closed")
        answer += data
    if answer != question:
        raise ConnectionError(f"{answer!r} came back for {question!r}")


def run(sequence: tuple[str, ...], folder: Path) -> None:
    """Change through the modes of `sequence`; in the end nothing of ipvs is left once its connections have
    had their time.
    """
    for mode in sequence:
        if reason := modes.missing(mode.partition("/")[0]):
            pytest.skip(reason)
    with Topology([NODE, NODE_6], [CLIENT, *PODS, CLIENT_6, POD_6]) as topology, echoing(topology):
        node = Node(topology.node, folder)
        node.apply(sequence[0])
        with Traffic(topology) as traffic:
            labels = [f"{mode} ({number})" for number, mode in enumerate(sequence)]
            traffic.begin(labels[0])
            traffic.settle()
            assert traffic.ask()
            for (before, mode), label in zip(itertools.pairwise(sequence), labels[1:], strict=True):
                print(f"{before} to {mode}")
                said = node.apply(mode)
                traffic.settle()
                assert traffic.ask(), f"the UDP flow ended with the change to {mode}"
                traffic.begin(label)
                traffic.settle()
                assert traffic.lost == []
                shown = node.frontends()
                name = mode.partition("/")[0]
                if before.startswith("ipvs"):
                    assert "mode ipvs still carries" in said
                    assert {frontend["mode"] for frontend in shown} == {name, "ipvs"}
                    assert {frontend["verdict"] for frontend in shown if frontend["mode"] == "ipvs"} == {
                        "draining"
                    }
                else:
                    assert {frontend["mode"] for frontend in shown} == {name}
            print(
                f"{sum(traffic.answers.values())} answers on {len(traffic.open)} open connections, "
                f"{sum(traffic.fresh.values())} new ones"
            )
            assert len(traffic.open) == len(sequence) * len(WAYS)
            for label in labels:
                if label.startswith("ipvs"):
                    traffic.end(label)
            node.let_time_pass()
            node.apply(sequence[-1])
            assert {frontend["mode"] for frontend in node.frontends()} == {sequence[-1]}
            left = [
                line
                for line in ours(topology.node, "ipvs")
                if "IPVS" in line or not line.startswith(("-A", ":"))
            ]
            assert left == []
            traffic.settle()
            assert traffic.lost == []
        node.run("delete")


def test_to_ipvs_and_back(tmp_path):
    run(("ipvs", "iptables-legacy", "ipvs", "iptables-legacy"), tmp_path)


@pytest.mark.ipvs_kernel(machine="tcg")
def test_among_all_modes(tmp_path):
    """Mode ipvs with its rules in iptables-nft, then in iptables-legacy."""
    run(("iptables-nft", "ipvs/nft", "nftables", "ipvs/legacy", "iptables-nft"), tmp_path)
