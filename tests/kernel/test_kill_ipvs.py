"""Everything of an apply killed, in mode ipvs: a client never finds a live VIP without a real server, and the
next apply repairs.

An apply writes in a process of its own, which outlives the command (ADR 0005, test_kill.py). Here that
process and all that it has started are killed too, ten times, at random steps of its work (harness/steps.py
counts them), which nothing but the order of those makes harmless.
"""

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import modes, netns, steps
from harness.topology import Topology
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.ipvs import dummy, read
from kcompile.program import Change, Program
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.resources import RealServer, VirtualServerKey

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
NODE, CLIENT, PODS = "192.0.2.10", "10.244.0.5", ("10.244.0.21", "10.244.0.22")
SERVICES, STEP, KILLS = 150, 50, 10
PAUSE = 0.05
"""Seconds between two connections, or reads: more often, and little is left of one CPU for the applies."""
TARGET = IpvsTarget()


def vip(number: int) -> str:
    return f"10.96.{number // 250}.{number % 250 + 1}"


def manifests(first: int, target_port: int) -> str:
    """SERVICES Services from number `first` on, each with one pod behind it, at `target_port`."""
    items = []
    for number in range(first, first + SERVICES):
        meta = {"name": f"svc-{number}", "namespace": "load"}
        spec = {"clusterIP": vip(number), "ports": [{"name": "http", "port": 80}]}
        items.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        items.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "labels": {"kubernetes.io/service-name": meta["name"]}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [PODS[number % 2]], "nodeName": "node-a"}],
                "ports": [{"name": "http", "port": target_port, "protocol": "TCP"}],
            }
        )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


# Both have Services STEP to SERVICES - 1, with other real servers; STEP of the first are not in the second,
# and the other way round.
INPUTS = (manifests(0, 8080), manifests(STEP, 9090))
ALWAYS = [vip(number) for number in range(STEP, SERVICES, 16)]
EDGES = (
    [vip(number) for number in range(0, STEP, 8)],
    [vip(number) for number in range(SERVICES, SERVICES + STEP, 8)],
)


def missing(held: Program, program: Program) -> tuple[Change, ...]:
    """What `held` lacks to be `program`, which real servers that drain may be beside."""
    busy = {
        key: RealServer(0, 1) if key.kind == "rs" and not value.weight else value
        for key, value in held.items()
    }
    return TARGET.diff(busy, program)


class Node:
    """A node, its client pod and its server pods; the command line on it."""

    def __init__(self, topology: Topology, folder: Path) -> None:
        self.topology, self.folder = topology, folder
        self.environment = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }
        for number, text in enumerate(INPUTS):
            (folder / f"{number}.json").write_text(text)

    def start(self, goal: int, step: int = 0) -> subprocess.Popen[str]:
        files = ["-f", str(self.folder / f"{goal}.json"), "--node", "node-a", "--netns", self.topology.node]
        return steps.start(
            "everything", step, self.folder / "steps", ["apply", "--mode", "ipvs", *files], self.environment
        )

    def apply(self, goal: int) -> str:
        process = self.start(goal)
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
        return text

    def observe(self) -> dict:
        with netns.enter(self.topology.node):
            return driver_for(
                "ipvs", None, netns.run_directory(self.folder / "run", self.topology.node)
            ).observe()


@contextlib.contextmanager
def serving(topology: Topology) -> Iterator[None]:
    """Every pod accepts connections at both ports."""
    listeners = []
    for ip in PODS:
        with netns.enter(topology.home(ip)):
            listeners += [socket.create_server((ip, port), backlog=512) for port in (8080, 9090)]

    def accept(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    threads = [threading.Thread(target=accept, args=(listener,), daemon=True) for listener in listeners]
    for thread in threads:
        thread.start()
    yield
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


class Watch:
    """Connects to VIPs from the client, and reads IPVS, as long as the context lasts.

    `trouble`: what should not have been.
    """

    def __init__(self, topology: Topology) -> None:
        self.coming: list[str] = []
        self.trouble: list[str] = []
        self.connections = self.reads = 0
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._in, args=(topology.home(CLIENT), self._connect)),
            threading.Thread(target=self._in, args=(topology.node, self._read)),
        ]

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _in(self, namespace: str, work) -> None:
        with netns.enter(namespace):
            while not self._over.is_set():
                try:
                    work()
                except OSError as error:
                    self.trouble.append(f"{work.__name__}: {error}")
                self._over.wait(PAUSE)

    def _connect(self) -> None:
        address = ALWAYS[self.connections % len(ALWAYS)]
        self.connections += 1
        with socket.socket() as client:
            client.settimeout(5)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
            try:
                client.connect((address, 80))
            except OSError as error:
                self.trouble.append(f"connection {self.connections} to {address}: {error}")

    def _read(self) -> None:
        """A VIP that is always served has a real server; one that comes has one as soon as it is bound."""
        self.reads += 1
        coming = self.coming
        bound = {key.address for key in dummy.observe() if key.kind == "address"}
        live = [address for address in (*ALWAYS, *coming) if address in bound]
        servers = read.real_servers([VirtualServerKey(4, "tcp", address, 80) for address in live])
        able = {key.address for key, server in servers.items() if server.weight}
        if coming is self.coming:
            self.trouble += [
                f"read {self.reads}: {address} has no real server" for address in live if address not in able
            ]
        self.trouble += [
            f"read {self.reads}: {address} is not bound" for address in ALWAYS if address not in bound
        ]


def test_everything_killed_leaves_live_vips_served_and_is_repaired(tmp_path):
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    rng = random.Random(7)
    with Topology([NODE], [CLIENT, *PODS]) as topology, serving(topology):
        node = Node(topology, tmp_path)
        programs = []
        for goal in (0, 1):
            node.apply(goal)
            programs.append(node.observe())
        assert [len(TARGET.frontends(program)) for program in programs] == [SERVICES, SERVICES]
        with Watch(topology) as watch:
            node.apply(0)
            total = int((tmp_path / "steps").read_text())
            now, halfway, killed = 0, 0, 0
            for _ in range(KILLS):
                goal = 1 - now
                watch.coming = EDGES[goal]
                process = node.start(goal, rng.randint(1, total))
                text, _ = process.communicate(timeout=600)
                if process.returncode == 0:  # it had fewer steps than the one that was counted
                    total, now = int((tmp_path / "steps").read_text()), goal
                    continue
                killed += 1
                assert process.returncode == -signal.SIGKILL, text
                held = node.observe()
                halfway += all(missing(held, program) for program in programs)
                node.apply(goal)
                assert missing(node.observe(), programs[goal]) == ()
                now = goal
        print(
            f"{watch.connections} connections, {watch.reads} reads, {halfway} kills halfway, "
            f"an apply takes {total} steps"
        )
        assert watch.trouble == []
        assert killed >= KILLS - 2
        assert halfway > 1, "the steps of a write are not where the kills were"
        assert watch.connections > KILLS
        assert watch.reads > KILLS
