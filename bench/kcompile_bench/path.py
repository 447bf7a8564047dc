"""A client pod, a node and a server pod as three namespaces, the shortest way on which a node's rules are
met.

    client 10.255.0.2 -- veth -- node 10.255.0.1 (the rules are here) -- veth -- server, all pod addresses
    that a test needs

Everything is permanent (neighbours, routes), one process holds both ends, and the server never runs while a
client waits: the kernel completes a handshake by itself, so the time of connect() is that of the packets
alone.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

from kcompile.kernel.netns import entered

from .generate import TARGET_PORT
from .netns import batch, namespaces, sysctl

__all__ = ["CLIENT", "NODE", "Path", "Sample"]

CLIENT, NODE = "10.255.0.2", "10.255.0.1"
_GATEWAY = "169.254.1.1"
_MACS = {
    name: f"02:00:00:00:00:0{i}" for i, name in enumerate(("client", "node-client", "node-server", "server"))
}
_FIRST_PORT, _PORTS, _STRIDE = 1024, 60_000, 7919  # a source port comes again after 60,000 connections
_RST_CLOSE = struct.pack("ii", 1, 0)
_TCP_INFO = struct.Struct("68xI28xI")  # tcpi_rtt, tcpi_total_retrans (linux/tcp.h)


class Sample(NamedTuple):
    """One connection: microseconds of connect(), TCP's own round trip of the handshake, SYNs sent again."""

    connect: float
    rtt: int
    retransmits: int


class Path(contextlib.ExitStack):
    """The three namespaces; `node` is the one to put rules into. A context manager."""

    def __init__(self, pods: Sequence[str]) -> None:
        super().__init__()
        self.pods = pods
        self._ports = itertools.cycle(range(_PORTS))

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def _build(self) -> None:
        self.client, self.node, self.server = self.enter_context(namespaces("client", "node", "server"))
        ends = (
            (self.client, "client", "toclient", "node-client"),
            (self.server, "server", "toserver", "node-server"),
        )
        for name, mac, port, port_mac in ends:
            peer = f"peer name eth0 address {_MACS[mac]} netns {name}"
            batch([f"link add name {port} address {_MACS[port_mac]} netns {self.node} type veth {peer}"])
        for name, gateway, addresses in (
            (self.client, "node-client", [CLIENT]),
            (self.server, "node-server", self.pods),
        ):
            lines = [*(f"addr add {address}/32 dev eth0" for address in addresses), "link set eth0 up"]
            lines += [
                f"neigh add {_GATEWAY} lladdr {_MACS[gateway]} dev eth0 nud permanent",
                f"route add default via {_GATEWAY} dev eth0 onlink",
            ]
            batch(lines, name)
        lines = ["link set toclient up", "link set toserver up", f"addr add {NODE}/32 dev toserver"]
        lines += [
            f"neigh add {_GATEWAY} lladdr {_MACS['server']} dev toserver nud permanent",
            f"route add default via {_GATEWAY} dev toserver onlink",
        ]
        for address, port, mac in (
            (CLIENT, "toclient", "client"),
            *((pod, "toserver", "server") for pod in self.pods),
        ):
            lines += [
                f"neigh add {address} lladdr {_MACS[mac]} dev {port} nud permanent",
                f"route add {address} dev {port}",
            ]
        batch(lines, self.node)
        sysctl(self.node, {"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 0})
        sysctl(self.server, {"core/somaxconn": 65535, "ipv4/tcp_max_syn_backlog": 65535})
        with entered(self.server):
            self._listener = self.enter_context(socket.socket())
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("0.0.0.0", TARGET_PORT))
            self._listener.listen(65535)
            self._listener.setblocking(False)

    def forget_fast(self) -> None:
        """Drop entries of closed connections after a second, not ten.

        Once rules have brought conntrack to life.
        """
        with contextlib.suppress(FileNotFoundError):
            sysctl(self.node, {"netfilter/nf_conntrack_tcp_timeout_close": 1})

    def accept(self, patience: float = 10.0) -> socket.socket:
        """The next connection to a pod, blocking; TimeoutError where none comes."""
        if not select.select([self._listener], [], [], patience)[0]:
            raise TimeoutError("nobody connects")
        connection, _ = self._listener.accept()
        connection.setblocking(True)
        return connection

    def block(
        self, address: str, port: int, connections: int, warmup: int, own: bool = False
    ) -> list[Sample]:
        """Connect `warmup` + `connections` times, one after the other, each from another port; the warm-up
        isn't in the result.

        `own`: the node itself connects, instead of the client.
        """
        with entered(self.node if own else self.client):
            samples = list(self._connections((address, port), connections + warmup, NODE if own else CLIENT))
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
        return samples[warmup:]

    def _connections(self, target: tuple[str, int], count: int, source: str) -> Iterator[Sample]:
        clock = time.perf_counter_ns
        for _ in range(count):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_CLOSE)
                sock.settimeout(None)
                sock.bind((source, _FIRST_PORT + next(self._ports) * _STRIDE % _PORTS))
                start = clock()
                sock.connect(target)
                end = clock()
                rtt, retransmits = _TCP_INFO.unpack(
                    sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
                )
            yield Sample((end - start) / 1000, rtt, retransmits)
