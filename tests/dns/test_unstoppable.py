"""Nothing that a client does, and no change, holds up the others."""

import contextlib
import json
import os
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import dns.message
import dns.query

from harness.nameserver import serving
from kcompile.dns.connections import Connections
from kcompile_bench.dns_steps import steps

MOST = 20_000  # questions until something must have changed
WEB = dns.message.make_query("web.shop.svc.cluster.local.", "A")


def services(addresses: dict[str, str]) -> str:
    """Manifests in JSON."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]},
        }
        for name, address in addresses.items()
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def asked(port: int, *, tcp: bool = False) -> str:
    reply = (dns.query.tcp if tcp else dns.query.udp)(WEB, "127.0.0.1", port=port, timeout=5)
    return reply.answer[0][0].to_text()


def test_silent_and_dripping_connections_shut_nobody_out(port: int):
    with ExitStack() as stack:
        streams = []
        for number in range(300):
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            stream.sendall(b"\0\x20\x12"[: number % 4])
            streams.append(stream)
        assert asked(port, tcp=True) == "10.96.0.80"
        assert asked(port) == "10.96.0.80"
        assert [streams[0].recv(1), streams[1].recv(1)] == [b"", b""]  # the oldest had to go


def test_a_client_that_takes_no_answers_is_not_read_from(port: int):
    wire = WEB.to_wire()
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 1 << 28:
                sent += stream.send((len(wire).to_bytes(2) + wire) * 1000)
        assert sent < 1 << 28
        assert asked(port, tcp=True) == "10.96.0.80"


def test_who_asks_stays():
    """The connection that has asked last goes last."""
    gone: list[str] = []

    class Fake:
        def __init__(self, name: str) -> None:
            self.name = name

        def abort(self) -> None:
            gone.append(self.name)

    connections = Connections(None, most=2)  # type: ignore[arg-type]
    connections._sweep = lambda: None  # type: ignore[method-assign]
    first, second = Fake("first"), Fake("second")
    connections.opened(first)  # type: ignore[arg-type]
    connections.opened(second)  # type: ignore[arg-type]
    connections.asked(first)  # type: ignore[arg-type]
    connections.opened(Fake("third"))  # type: ignore[arg-type]
    assert gone == ["second"]


def test_no_question_is_lost_while_everything_changes(tmp_path: Path):
    path = tmp_path / "cluster.json"

    def write(number: int) -> None:
        many = {f"s{n}": f"10.100.{number}.{n % 256}" for n in range(256)}
        (tmp_path / "next").write_text(services({"web": f"10.96.0.{number}", **many}))
        (tmp_path / "next").rename(path)

    write(1)
    with serving(manifests=path) as (port, server):
        for number in range(2, 8):
            write(number)
            assert any(asked(port) == f"10.96.0.{number}" for _ in range(MOST))  # raises without an answer
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=5) == 0


def test_no_step_of_a_reload_is_long():
    """Seconds of CPU: kcompile_bench.dns_steps prints them."""
    assert max(steps(500, 1)) < 0.02


def test_it_ends_under_load(tmp_path: Path):
    path = tmp_path / "cluster.json"
    path.write_text(services({"web": "10.96.0.80"}))
    with serving(manifests=path) as (port, server), ExitStack() as stack:
        done = threading.Event()

        def flood() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.connect(("127.0.0.1", port))
                while not done.is_set():
                    try:
                        sock.send(WEB.to_wire())
                    except ConnectionRefusedError:
                        return

        streams = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
        thread = threading.Thread(target=flood)
        thread.start()
        try:
            server.terminate()
            assert server.wait(timeout=20) == 0
        finally:
            done.set()
            thread.join()
        assert all(not stream.recv(1) for stream in streams)


def test_the_reader_is_started_again(tmp_path: Path):
    """And what has changed meanwhile is made up for."""
    path = tmp_path / "cluster.json"
    path.write_text(services({"web": "10.96.0.80", "old": "10.96.0.81"}))
    with serving(manifests=path) as (port, server):
        (reader,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        path.write_text(services({"web": "10.96.0.90"}))
        os.kill(int(reader), signal.SIGKILL)
        assert "started again" in server.stderr.readline()
        assert any(asked(port) == "10.96.0.90" for _ in range(MOST))
        old = dns.message.make_query("old.shop.svc.cluster.local.", "A")
        assert not all(dns.query.udp(old, "127.0.0.1", port=port, timeout=5).answer for _ in range(MOST))
