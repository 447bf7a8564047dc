"""--fast-path flowtable on real packets, where the kernel has flowtables; and where it has none."""

import contextlib
import errno
import json
import socket
import struct
import time

import pytest

from harness import netns
from harness.agentprocess import Process
from harness.onenode import Node, fresh, service
from harness.topology import Topology
from kcompile.kernel.flowtable import lacking

pytestmark = pytest.mark.kernel
NODE, CLIENT, PODS = "192.0.2.10", "10.244.0.5", ("10.244.0.21", "10.244.0.22")
VIP = "10.96.0.10"
FAST = ("--pod-cidr", "10.244.0.0/16", "--fast-path", "flowtable")
COUNTER = (
    "table ip seen { counter c { }; chain f { type filter hook forward priority -300; counter name c; }; }"
)
PATIENCE = 200
"""Seconds for the agent, emulated."""
FEW, MANY = 4, 60
"""Packets: a flow is put in by its first ones; an exchange without a flowtable has many more."""


def test_a_kernel_without_flowtables_is_told(tmp_path):
    with fresh(tmp_path) as node:
        with netns.enter(node.name):
            missing = lacking()
        given = json.dumps(service("web", VIP))
        done = node.run("apply", "-f", "-", "--allow-empty", *FAST, given=given)
        assert done.returncode == (1 if missing else 0), done.stderr
        tables = netns.run(node.name, ["nft", "list", "tables"]).stdout.splitlines()
        if missing:
            (line,) = done.stderr.splitlines()[-1:]
            assert line.startswith("kcompile: --fast-path flowtable: this kernel has no flowtables (")
            assert tables == []
        else:
            assert "table inet kcompile-fast" in tables


def manifests(*pods):
    """A Service for TCP and UDP whose endpoints are `pods`, and its slice."""
    ports = [{"name": p.lower(), "port": 80, "protocol": p} for p in ("TCP", "UDP")]
    web = service("web", VIP)
    web["spec"]["ports"] = ports
    meta = {"name": "web", "namespace": "demo", "labels": {"kubernetes.io/service-name": "web"}}
    return web, {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod], "nodeName": "node-a"} for pod in pods],
        "ports": [{**port, "port": 8080} for port in ports],
    }


class Path:
    """A client, a node, and pods that listen."""

    def __init__(self, topology, folder, stack):
        self.topology, self.stack = topology, stack
        self.node = Node(topology.node, folder)
        self.nft(COUNTER)
        self.listeners, self.udp = {}, {}
        for pod in PODS:
            with netns.enter(topology.pods[pod]):
                self.listeners[pod] = stack.enter_context(socket.create_server((pod, 8080)))
                self.udp[pod] = self.socket(socket.SOCK_DGRAM)
                self.udp[pod].bind((pod, 8080))

    def socket(self, kind):
        made = self.stack.enter_context(socket.socket(socket.AF_INET, kind))
        made.settimeout(10)
        return made

    def nft(self, text):
        netns.run(self.topology.node, ["nft", "-f", "-"], text=text)

    def passed(self):
        """Packets in FORWARD so far."""
        text = self.listed("-j", "list", "counters")
        return next(each["counter"]["packets"] for each in json.loads(text)["nftables"] if "counter" in each)

    def connect(self, port=0, to=(VIP, 80)):
        """Both ends of a connection through the Service, or directly, to the first pod."""
        with netns.enter(self.topology.pods[CLIENT]):
            client = self.socket(socket.SOCK_STREAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((CLIENT, port))
        client.connect(to)
        server = self.stack.enter_context(self.listeners[PODS[0]].accept()[0])
        server.settimeout(10)
        return client, server

    def tables(self):
        return self.listed("list", "tables")

    def listed(self, *words):
        return netns.run(self.topology.node, ["nft", *words]).stdout

    def devices(self):
        text = self.listed("-j", "list", "flowtables")
        return next(
            each["flowtable"].get("dev", []) for each in json.loads(text)["nftables"] if "flowtable" in each
        )


@contextlib.contextmanager
def paths(folder):
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(Topology([NODE], [CLIENT, *PODS]))
        path = Path(topology, folder, stack)
        try:
            yield path
        finally:
            assert path.node.run("delete").returncode == 0


def exchange(client, server):
    """Thirty questions and answers."""
    for _ in range(MANY // 2):
        client.sendall(b"?")
        assert server.recv(1) == b"?"
        server.sendall(b"!")
        assert client.recv(1) == b"!"


def crossed(path, ends):
    """Packets that FORWARD sees of an exchange."""
    exchange(*ends)  # some that are under way, and those that put the flow in
    before = path.passed()
    exchange(*ends)
    return path.passed() - before


@pytest.mark.ipvs_kernel(machine="tcg")
def test_established_connections_skip_the_hooks(tmp_path):
    with paths(tmp_path) as path:
        node = path.node
        node.apply(*manifests(PODS[0]))
        ends = path.connect()
        assert crossed(path, ends) >= MANY
        for mode in ("nftables", "iptables-legacy", "iptables-nft", "ipvs"):
            node.apply(*manifests(PODS[0]), extra=(*FAST, "--mode", mode))
            assert crossed(path, path.connect(to=(PODS[0], 8080))) <= FEW, mode
            if mode == "ipvs":
                exchange(*path.connect())  # its hooks are needed
            else:
                assert crossed(path, path.connect()) <= FEW, mode
                assert crossed(path, ends) <= FEW, mode
            assert "No changes" in node.run("plan", "-f", "-", *FAST, "--mode", mode, given=_text()).stdout
        node.apply(*manifests(PODS[0]), extra=("--mode", "nftables"))
        assert "kcompile-fast" not in path.tables()
        exchange(*ends)


def _text():
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests(PODS[0])})


@pytest.mark.ipvs_kernel(machine="tcg")
def test_ends_sizes_and_moves(tmp_path):
    with paths(tmp_path) as path:
        node = path.node
        node.apply(*manifests(PODS[0]), extra=FAST)
        client, server = path.connect()
        assert crossed(path, (client, server)) <= FEW
        _resets(path, client, server)
        _ends(path)
        datagrams = _sizes(path)
        # its endpoint goes: the flow leaves the flowtable with its conntrack entry
        node.apply(*manifests(PODS[1]), extra=FAST)
        datagrams.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # the refusal
        datagrams.send(b"moved")
        assert path.udp[PODS[1]].recv(99) == b"moved"


def _resets(path, client, server):
    """A reset arrives, and the same port can connect again."""
    port = client.getsockname()[1]
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
    exchange(*path.connect(port))


def _ends(path):
    """Each side may end first, and the other go on."""
    client, server = path.connect()
    exchange(client, server)
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.sendall(b"last words")
    assert client.recv(99) == b"last words"
    server.close()
    assert client.recv(1) == b""


def _sizes(path):
    """What exceeds the way's MTU goes to the stack: answered if it may not be cut, else cut."""
    topology = path.topology
    index = topology.pod_ips.index(PODS[0])
    netns.batch([f"link set pod{index} mtu 1400"], topology.node)
    with netns.enter(topology.pods[CLIENT]):
        client = path.socket(socket.SOCK_DGRAM)
        client.connect((VIP, 80))
    for _ in range(10):
        client.send(b"?")
        data, sender = path.udp[PODS[0]].recvfrom(99)
        path.udp[PODS[0]].sendto(data, sender)
        assert client.recv(99) == b"?"
    client.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
    client.send(bytes(1450))
    assert len(path.udp[PODS[0]].recv(2000)) == 1450
    client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_PMTUDISC_DO
    assert any(_is_too_long(client) for _ in range(50))
    return client


def _is_too_long(client):
    """Whether a datagram is refused since an answer said what the MTU is."""
    try:
        client.send(bytes(1450))
    except OSError as error:
        return error.errno == errno.EMSGSIZE
    time.sleep(0.1)
    return False


@pytest.mark.ipvs_kernel(machine="tcg")
def test_interfaces_and_repair(tmp_path):
    with paths(tmp_path) as path:
        node, topology = path.node, path.topology
        node.apply(*manifests(PODS[0]), extra=FAST)
        assert set(path.devices()) == {"eth0", "pod0", "pod1", "pod2"}
        path.nft("add table inet kcompile-fast { flags dormant; }\nadd counter inet kcompile-fast foreign\n")
        planned = node.run("plan", "-f", "-", *FAST, given=_text()).stdout
        assert "flowtable inet kcompile-fast" in planned
        node.apply(*manifests(PODS[0]), extra=FAST)
        text = path.listed("list", "table", "inet", "kcompile-fast")
        assert "dormant" not in text
        assert "foreign" not in text
        (tmp_path / "specs.json").write_text(_text())
        with Process(node, "-f", str(tmp_path / "specs.json"), *FAST, patience=PATIENCE):
            netns.batch(["link add name new0 type veth peer name new1", "link del pod2"], topology.node)
            deadline = time.monotonic() + PATIENCE
            while set(path.devices()) != {"eth0", "pod0", "pod1", "new0", "new1"}:
                assert time.monotonic() < deadline, path.devices()
                time.sleep(0.2)
        assert node.run("delete").returncode == 0
        assert path.tables() == "table ip seen\n"
