"""A name server of ours, as a process of its own on a port of the loopback."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["CLUSTER", "free_port", "serving"]

CLUSTER = Path(__file__).parents[1] / "dns" / "cluster.yaml"


def free_port() -> int:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        return tcp.getsockname()[1]


@contextlib.contextmanager
def serving(
    *options: str, manifests: Path | None = CLUSTER, port: int = 0
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """``kcompile dns serve`` with `options`; its port and process. `manifests` None: `options` say where the
    objects are.
    """
    port = port or free_port()
    files = ["-f", str(manifests), "--state", str(manifests.parent / "none.json")] if manifests else []
    server = subprocess.Popen(
        [sys.executable, "-m", "kcompile", "dns", "serve", *files, "--port", str(port), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    with server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith("Serving "), server.stderr.read() if server.stderr else ""
            yield port, server
        finally:
            server.terminate()
