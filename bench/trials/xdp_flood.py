"""Whether open connections outlive a flood: half-open ones from forged addresses, and many short real ones.

``PYTHONPATH=tests python bench/trials/xdp_flood.py [--modes xdp,nftables] [--syns N] [--short N]``, as root.
Prints a line for each mode and form: how many of the held connections still answer.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

from harness import netns
from harness.command import Kcompile
from harness.ebpf import room
from harness.flowcase import FlowCase, Node
from harness.topology import Topology

NODE, CLIENT, POD, FLOODER = "192.0.2.10", "10.244.0.5", "10.244.0.21", "10.244.0.6"
VIP = "10.96.0.10"
_LABELS = {"kubernetes.io/service-name": "web"}
MANIFESTS = (
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "demo"},
        "spec": {"clusterIP": VIP, "ports": [{"name": "p", "port": 80}]},
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "demo", "labels": _LABELS},
        "addressType": "IPv4",
        "ports": [{"name": "p", "port": 8080}],
        "endpoints": [{"addresses": [POD], "nodeName": "node-a"}],
    },
)
CASE = FlowCase(
    name="flood",
    node=Node("node-a", (NODE,), ("10.244.0.0/24",)),
    config={
        "detectLocal": {"mode": "ClusterCIDR", "cidrs": ["0.0.0.0/0"]}
    },  # masquerading would run out of ports
    manifests=MANIFESTS,
    flows=(),
)


def echo(server: socket.socket) -> None:
    """Answer every connection with what it says, until the socket is closed."""

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while said := connection.recv(64):
                connection.sendall(said)

    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()


def connect() -> socket.socket:
    sock = socket.create_connection((VIP, 80), 5)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT
    return sock


def answers(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"x")
        return sock.recv(64) == b"x"
    except OSError:
        return False


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def syns(count: int) -> None:
    """SYNs from 198.18.0.0/16 to the Service."""
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    to = socket.inet_aton(VIP)
    for number in range(count):
        source = bytes((198, 18, number >> 8 & 255, number & 255))
        head = struct.pack("!HHIIBBHHH", 1024 + (number >> 16), 80, number, 0, 0x50, 2, 65535, 0, 0)
        check = checksum(source + to + struct.pack("!BBH", 0, 6, 20) + head)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, number & 0xFFFF, 0, 64, 6, 0, source, to)
        with contextlib.suppress(OSError):
            raw.sendto(ip + head[:16] + struct.pack("!H", check) + head[18:], (VIP, 0))
    raw.close()


def short(count: int) -> None:
    """Real connections, one after the other."""
    for _ in range(count):
        with contextlib.suppress(OSError), connect() as sock:
            answers(sock)


def trial(mode: str, held: int, form: str, count: int, options: list[str]) -> str:
    with (
        tempfile.TemporaryDirectory() as folder,
        room(mode, Path(folder)) as more,
        Topology([NODE], [CLIENT, POD, FLOODER]) as topology,
    ):
        kcompile = Kcompile(mode, topology.node, Path(folder), [*more, *(options if more else ())])
        applied = kcompile.apply(CASE)
        if applied.code:
            raise SystemExit(applied.output)
        with netns.enter(topology.pods[POD]):
            server = socket.create_server((POD, 8080), backlog=1024)
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        with netns.enter(topology.pods[CLIENT]):
            socks = [connect() for _ in range(held)]
        before = sum(answers(sock) for sock in socks)
        start = time.monotonic()
        with netns.enter(topology.pods[FLOODER]):
            (syns if form == "half-open" else short)(count)
        took = time.monotonic() - start
        after = sum(answers(sock) for sock in socks)
        for sock in [*socks, server]:
            sock.close()
        kcompile.delete()
        return f"{mode}: {count} {form} in {took:.1f} s: {after} of {before} answer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", default="xdp,nftables")
    parser.add_argument("--syns", type=int, default=400_000)
    parser.add_argument("--short", type=int, default=8_000)
    given = parser.parse_args()
    for mode in given.modes.split(","):
        print(trial(mode, 100, "half-open", given.syns, []), flush=True)
        small = ["--xdp-capacity", "flows4=2000", "--xdp-capacity", "brief4=2000"]
        print(trial(mode, 200, "short", given.short, small), flush=True)


if __name__ == "__main__":
    sys.exit(main())
