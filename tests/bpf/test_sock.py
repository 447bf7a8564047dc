"""sock.c on real sockets: a process in a cgroup and a namespace of its own connects to Services whose backend
listens there.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import netns
from kcompile.kernel.bpf import attach
from kcompile.kernel.bpf.attach import Attachment
from kcompile.targets.xdp.layout import CONSTANTS as C

from .frames import BOOK
from .world import World

pytestmark = pytest.mark.kernel

HOOKS = (
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "recvmsg4",
    "recvmsg6",
    "getpeername4",
    "getpeername6",
)
_SO_NETNS_COOKIE = 71
_BOTH = C["CONFIG_SOCKET_TCP"] | C["CONFIG_SOCKET_UDP"]
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

# What a client does; it prints what it saw. argv: what, address, port, seconds of patience
_CLIENT = """
import json, socket, sys
what, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
kind = socket.SOCK_STREAM if what == "tcp" else socket.SOCK_DGRAM
with socket.socket(family, kind) as s:
    s.settimeout(float(sys.argv[4]))
    try:
        if what == "send":
            s.sendto(b"question", (address, port))
            answer, peer = s.recvfrom(100)
        else:
            s.connect((address, port))
            s.send(b"question")
            answer, peer = s.recv(100), s.getpeername()
        print(json.dumps([answer.decode(), *peer[:2]]))
    except OSError as error:
        print(json.dumps([type(error).__name__]))
"""


class Server(threading.Thread):
    """Answers on port 9000 of the node, TCP and UDP, both families, until it is told to end."""

    def __init__(self, namespace: str) -> None:
        super().__init__(daemon=True)
        self.sockets: list[socket.socket] = []
        with netns.enter(namespace):
            for family in FAMILIES.values():
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    s = socket.socket(family, kind)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((BOOK["node"][family == socket.AF_INET6], 9000))
                    s.settimeout(0.05)
                    if kind == socket.SOCK_STREAM:
                        s.listen()
                    self.sockets.append(s)
        self.ended = False

    def run(self) -> None:
        while not self.ended:
            for s in self.sockets:
                try:
                    if s.type == socket.SOCK_DGRAM:
                        _, peer = s.recvfrom(100)
                        s.sendto(b"answer", peer)
                    else:
                        connection, _ = s.accept()
                        with connection:
                            connection.recv(100)
                            connection.send(b"answer")
                except TimeoutError:
                    pass

    def end(self) -> None:
        self.ended = True
        self.join()
        for s in self.sockets:
            s.close()


@pytest.fixture
def hooked(world: World, bpffs: Path, cgroup: Path) -> Iterator[World]:
    """The world with the hooks on `cgroup` and a server on its node."""
    for hook in HOOKS:
        attach.attach(bpffs, Attachment(hook), world.programs[hook], cgroup=cgroup)
    server = Server(world.namespace)
    server.start()
    try:
        yield world
    finally:
        server.end()
        for hook in HOOKS:
            attach.detach(bpffs, Attachment(hook))


def cookie(world: World) -> int:
    with netns.enter(world.namespace), socket.socket() as s:
        return int.from_bytes(s.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)


def says(world: World, cgroup: Path, what: str, address: str, port: int, patience: float = 5) -> list[object]:
    """What a client in `cgroup`, on the node, hears from `address`, and from whom."""
    join = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    with netns.enter(world.namespace):
        command = [
            "sh",
            "-c",
            join,
            str(cgroup),
            sys.executable,
            "-c",
            _CLIENT,
            what,
            address,
            str(port),
            str(patience),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("what", ["tcp", "udp", "send"])
def test_a_socket_is_led_to_the_backend_and_knows_only_the_service(
    hooked: World, cgroup: Path, what: str, version: int
):
    hooked.configure(_BOTH, cookie(hooked))
    address = BOOK["host"][version == 6]
    assert says(hooked, cgroup, what, address, 80) == ["answer", address, 80]
    connections = hooked.sum_of("counters", hooked.backends[version, "host node"])[0]
    assert connections == (0 if what == "send" else 1)
    assert hooked.entries(f"flows{version}") == {}


def test_ipv4_by_an_ipv6_socket(hooked: World, cgroup: Path):
    hooked.configure(_BOTH, cookie(hooked))
    mapped = "::ffff:" + BOOK["host"][0]
    for what in ("tcp", "send"):
        answer, peer, port = says(hooked, cgroup, what, mapped, 80)
        assert (answer, peer, port) == ("answer", mapped, 80)


@pytest.mark.parametrize("version", [4, 6])
def test_what_isnt_asked_for_or_isnt_the_nodes_is_left_alone(hooked: World, cgroup: Path, version: int):
    """No route leads to the Service's address, so a client that isn't led to the backend hears nothing."""
    address = BOOK["host"][version == 6]
    own = cookie(hooked)
    for flags, number, heard in [
        (C["CONFIG_SOCKET_TCP"], own, {"tcp"}),
        (C["CONFIG_SOCKET_UDP"], own, {"udp", "send"}),
        (0, own, set()),
        (_BOTH, own + 1, set()),
        (_BOTH, 0, set()),
    ]:
        hooked.configure(flags, number)
        for what in ("tcp", "udp", "send"):
            said = says(hooked, cgroup, what, address, 80, 5 if what in heard else 0.2)
            assert (said[0] == "answer") == (what in heard), (flags, number, what)


def test_a_node_port(hooked: World, cgroup: Path):
    hooked.configure(_BOTH, cookie(hooked))
    number = hooked.get("frontends4", (socket.inet_aton(BOOK["host"][0]), b"\0\x50", 6))
    key = (bytes(4), (30099).to_bytes(2, "big"), 6)
    hooked.put("frontends4", key, number)
    assert says(hooked, cgroup, "tcp", BOOK["node"][0], 30099) == ["answer", BOOK["node"][0], 30099]
