"""Pods: a namespace that has every address of theirs, and a process in it that answers a connection with the
address that it came to.

As a program it listens in the namespace that it is given, and reads addresses on stdin, a line each: of Pods
that have ended. A connection to one of these is reset without an answer.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import sys
from collections.abc import Iterator
from typing import IO

from kcompile import spawn
from kcompile.kernel.netns import entered

from ..generate import PORT, TARGET_PORT
from ..netns import batch, namespaces, sysctl
from .place import Place

__all__ = ["Pods", "ask", "pods"]

CLIENT = "10.255.0.2"
_RST_CLOSE = struct.pack("ii", 1, 0)


class Pods:
    """`client` is the namespace to ask from."""

    def __init__(self, client: str, stdin: IO[bytes]) -> None:
        self.client, self._stdin = client, stdin

    def end(self, *ips: str) -> None:
        """These Pods are gone."""
        self._stdin.write("".join(f"{ip}\n" for ip in ips).encode())
        self._stdin.flush()


@contextlib.contextmanager
def pods(place: Place) -> Iterator[Pods]:
    """A client and Pods, each in a namespace on an interface of the node."""
    with namespaces("client", "pods") as (client, server):
        for end, device, own, other in (
            (client, "toclient", "10.255.0.1", CLIENT),
            (server, "topods", "10.255.1.1", "10.255.1.2"),
        ):
            batch([f"link add {device} netns {place.netns} type veth peer name eth0 netns {end}"])
            batch([f"addr add {own}/24 dev {device}", f"link set {device} up"], place.netns)
            lines = [f"addr add {other}/24 dev eth0", "link set eth0 up", f"route add default via {own}"]
            batch(lines, end)
        batch(["route add local 10.128.0.0/10 dev lo"], server)
        batch(["route add 10.128.0.0/10 via 10.255.1.2"], place.netns)
        sysctl(place.netns, {"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 0})
        process = spawn.popen(spawn.python("kcompile_bench.agent.pods", server), stdin=-1, stdout=-1)
        try:
            process.stdout.readline()
            yield Pods(client, process.stdin)
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()


def ask(vip: str, timeout: float) -> str:
    """The address of the Pod that answers for a Service. OSError where none does."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_CLOSE)
        sock.settimeout(timeout)
        sock.connect((vip, PORT))
        answer = sock.recv(64)
    if not answer:
        raise ConnectionError("closed without an answer")
    return answer.decode()


def _main() -> None:
    ended: set[str] = set()
    with entered(sys.argv[1]), selectors.DefaultSelector() as selector, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", TARGET_PORT))
        listener.listen(4096)
        listener.setblocking(False)
        os.set_blocking(0, False)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        print("ready", flush=True)
        rest = b""
        while True:
            for key, _ in selector.select():
                if key.fd == 0:
                    data = os.read(0, 1 << 16)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    ended.update(line.decode() for line in lines)
                else:
                    _answer(listener, ended)


def _answer(listener: socket.socket, ended: set[str]) -> None:
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            own = connection.getsockname()[0]
            if own in ended:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_CLOSE)
            else:
                connection.sendall(own.encode())


if __name__ == "__main__":
    _main()
