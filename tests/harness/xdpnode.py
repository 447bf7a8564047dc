"""A node in mode xdp whose pods echo: rules from a dataplane, by the library."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

from kcompile.ir.model import Dataplane, Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings, Xdp
from kcompile.kernel import facts
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.passes import resolve
from kcompile.program import diff
from kcompile.targets.xdp import XdpTarget

from . import netns
from .topology import Topology

__all__ = ["CLIENT", "NODE", "NODE_PORT", "OUTSIDER", "PODS", "TARGET", "VIP", "Echo", "Machine", "ask"]

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
