"""A node is taken over from kube-proxy and given back, under traffic: no connection is lost."""

import contextlib
import itertools
import json
import os
import re
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from harness import modes, netns
from harness.topology import Topology

pytestmark = pytest.mark.kernel
TESTS = Path(__file__).parents[1]
CASE = "37-lb-ipmode-proxy"
NODE, CLIENT, POD, OUTSIDE = "192.0.2.10", "10.244.0.5", "10.244.0.21", "203.0.113.7"
WAYS = ((CLIENT, ("10.96.0.74", 80)), (OUTSIDE, (NODE, 30074)))
PAUSE = 0.02  # seconds between two new connections of a way: 100 a second in all
SLOW = 0.1  # the same in a machine of the tests, whose processor is an emulated one
NEW = 20  # connections that must begin after a change, a way
PATIENCE = 60.0  # seconds: only a failure waits as long
KUBERNETES = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    }
]


class Traffic(contextlib.ExitStack):
    """Open connections, and new ones all the time, through both ways in; `failures` has what went wrong."""

    def __init__(self, net: Topology, connections: int = 100, pause: float = PAUSE) -> None:
        super().__init__()
        self._connections, self._pause = connections, pause  # a way
        self.failures: list[str] = []
        self._net, self._ended = net, threading.Event()
        self._begun = dict.fromkeys(WAYS, 0)
        self._ports = itertools.count(20000)  # none is used twice: IPVS remembers it for a while

    def __enter__(self) -> "Traffic":
        super().__enter__()
        with netns.enter(self._net.home(POD)):
            listener = self.enter_context(socket.create_server((POD, 8080), backlog=1024))
        threads = [threading.Thread(target=self._answer, args=(listener,))]
        self._open = [
            self.enter_context(self._connected(way)) for way in WAYS for _ in range(self._connections)
        ]
        threads += [threading.Thread(target=self._connect, args=(way,)) for way in WAYS]
        self.callback(lambda: [thread.join() for thread in threads])
        self.callback(self._ended.set)
        for thread in threads:
            thread.start()
        return self

    def check(self) -> None:
        """Every open connection answers still, and new ones do."""
        before = dict(self._begun)
        for number, connection in enumerate(self._open):
            self._ask(connection, f"open connection {number}")
        until = time.monotonic() + PATIENCE
        while any(self._begun[way] < before[way] + NEW for way in WAYS) and not self.failures:
            assert time.monotonic() < until
            self._ended.wait(self._pause)
        assert not self.failures, self.failures[:5]

    def end(self) -> None:
        """End the open connections."""
        while self._open:
            self._open.pop().close()

    def _connected(self, way) -> socket.socket:
        source, to = way
        with netns.enter(self._net.home(source)):
            connection = socket.create_connection(to, timeout=5, source_address=(source, next(self._ports)))
        # it ends at once, also for IPVS, which remembers others for two minutes
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return connection

    def _ask(self, connection: socket.socket, what: str) -> None:
        try:
            connection.sendall(b"?")
            if connection.recv(1) != b"?":
                self.failures.append(f"{what}: closed")
        except OSError as error:
            self.failures.append(f"{what}: {error}")

    def _connect(self, way) -> None:
        while not self._ended.wait(self._pause):
            try:
                with self._connected(way) as connection:
                    self._ask(connection, f"new connection to {way[1]}")
            except OSError as error:
                self.failures.append(f"connect to {way[1]}: {error}")
            self._begun[way] += 1

    def _answer(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(self._pause):
                    if key.fileobj is listener:
                        selector.register(listener.accept()[0], selectors.EVENT_READ)
                        continue
                    data = b""
                    with contextlib.suppress(ConnectionError):
                        data = key.fileobj.recv(16)
                        key.fileobj.sendall(data)
                    if not data:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
            for key in list(selector.get_map().values()):
                if key.fileobj is not listener:
                    key.fileobj.close()


class Command:
    """kcompile on the node, with manifests in a folder."""

    def __init__(self, net: Topology, folder: Path, mode: str) -> None:
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        case = yaml.safe_load((TESTS / f"conformance/flowcases/{CASE}.yaml").read_text())
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
        self.write("case", [*case["manifests"], node])
        self._log = folder / "log"
        self._words = [sys.executable, "-m", "kcompile", "run", "--netns", net.node]
        self._agent = ["--mode", mode, "--node", "node-a", "--pod-cidr", "10.244.0.0/16"]
        self._agent += ["-f", str(self.manifests), "--take-over", "--sync-period", "1"]
        self._environment = os.environ | {
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }

    def write(self, name: str, objects: list[dict]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        (self.manifests / f"{name}.json").write_text(text)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self._log.open("w") as log:
            self._process = process = subprocess.Popen(
                [*self._words, *self._agent], env=self._environment, stderr=log
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, self._log.read_text()
        finally:
            process.kill()
            process.wait()

    def wait_for(self, line: str) -> None:
        """Until the agent has logged `line`."""
        until = time.monotonic() + PATIENCE
        while line not in self._log.read_text():
            assert time.monotonic() < until, self._log.read_text()
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.02)

    def cleanup(self) -> None:
        command = [*self._words, "--cleanup"]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def kube_proxy(node: str, folder: Path) -> Iterator[Callable[[], object]]:
    """A process of that name; yields what ends it."""
    program = folder / "kube-proxy"
    shutil.copy("/bin/sleep", program)
    with netns.enter(node):
        process = subprocess.Popen([program, "600"])
    try:
        yield process.kill
    finally:
        process.kill()
        process.wait()


def load(node: str, theirs: str) -> None:
    """Load kube-proxy's rules as it does: beside what is there, its jumps first."""
    rules = TESTS / "kubeproxy/rules"
    if theirs == "nftables":
        netns.run(node, ["nft", "-f", "-"], text=(rules / f"{CASE}.nftables.nft").read_text())
        return
    for version, tool in ((4, "iptables"), (6, "ip6tables")):
        text = (rules / f"{CASE}.iptables-legacy.ipv{version}.txt").read_text()
        for hook in ("PREROUTING", "OUTPUT", "POSTROUTING"):
            text = text.replace(f"-A {hook} ", f"-I {hook} ")
        text = re.sub(r"-m nfacct --nfacct-name +\S+", "", text)  # counters: objects that it makes beside
        netns.run(node, [f"{tool}-legacy-restore", "--noflush"], text=text)


def left(node: str) -> str:
    """Every rule on the node."""
    commands = (["iptables-legacy-save"], ["ip6tables-legacy-save"], ["nft", "list", "ruleset"])
    return "".join(netns.run(node, command, check=False).stdout for command in commands)


IPVS = """\
modprobe -qa ip_vs dummy || true
sysctl -qw net.ipv4.vs.conntrack=1 net.ipv4.vs.conn_reuse_mode=0
ip link add kube-ipvs0 type dummy
ip address add 10.96.0.74/32 dev kube-ipvs0
ipset create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
ipset add KUBE-NODE-PORT-TCP 30074
ipset create KUBE-CLUSTER-IP hash:ip,port
ipset add KUBE-CLUSTER-IP 10.96.0.74,tcp:80
for vip in 10.96.0.74:80 192.0.2.10:30074; do
    ipvsadm -A -t $vip -s rr
    ipvsadm -a -t $vip -r 10.244.0.21:8080 -m
done
ipvsadm -A -t 192.0.2.10:9000 -s rr
iptables-legacy-restore --noflush <<END
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
COMMIT
END
"""
"""What kube-proxy's mode ipvs makes of the case; and a virtual server of somebody else."""


@pytest.mark.ipvs_kernel
def test_connections_through_kube_proxys_ipvs_live_on(tmp_path: Path) -> None:
    if reason := modes.missing("iptables-legacy"):
        pytest.skip(reason)
    with Topology([NODE], [CLIENT, POD]) as net:
        netns.run(net.node, ["bash", "-ec", IPVS])
        command = Command(net, tmp_path, "iptables-legacy")
        with Traffic(net, connections=10, pause=SLOW) as traffic, command.running():
            command.wait_for("connections are open through kube-proxy's IPVS; its rest goes when they")
            traffic.check()
            traffic.end()
            command.wait_for("taken over from kube-proxy")
            traffic.check()
            assert "KUBE-" not in left(net.node) + netns.run(net.node, ["ipset", "save"]).stdout
            servers = netns.run(net.node, ["ipvsadm", "-Sn"]).stdout
            assert servers.split() == ["-A", "-t", "192.0.2.10:9000", "-s", "rr"]
            assert "kube-ipvs0" not in netns.run(net.node, ["ip", "link"]).stdout


@pytest.mark.parametrize("theirs", ["nftables", "iptables-legacy"])
@pytest.mark.parametrize("ours", ["nftables", "iptables-legacy"])
def test_from_kube_proxy_and_back(ours: str, theirs: str, tmp_path: Path) -> None:
    for mode in (ours, theirs):
        if reason := modes.missing(mode):
            pytest.skip(reason)
    with Topology([NODE], [CLIENT, POD]) as net:
        load(net.node, theirs)
        command = Command(net, tmp_path, ours)
        with Traffic(net) as traffic, kube_proxy(net.node, tmp_path) as end:
            with command.running():
                command.wait_for("is running: its rules go when it has ended")
                end()
                command.wait_for("kube-proxy's rules stay: they answer 10.96.0.1:443/TCP, and ours don't")
                traffic.check()
                command.write("kubernetes", KUBERNETES)
                command.wait_for("taken over from kube-proxy")
                rules = left(net.node)
                assert "KUBE-SERVICES" not in rules
                assert "table ip kube-proxy" not in rules
                assert ("KUBE-FIREWALL" in rules) == (theirs == "iptables-legacy"), "kubelet's"
                traffic.check()
            load(net.node, theirs)
            traffic.check()
            command.cleanup()
            assert "kcompile" not in left(net.node).lower()
            traffic.check()
